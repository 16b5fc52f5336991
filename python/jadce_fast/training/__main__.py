"""Command line: ``python -m jadce_fast.training --size tiny --minutes 10 --out FILE.safetensors``."""

from __future__ import annotations

import argparse
import functools

from .train import SIZES, train


def main() -> None:
    """Train a prior and write it."""
    parser = argparse.ArgumentParser(prog="python -m jadce_fast.training", description=main.__doc__)
    parser.add_argument("--out", required=True, help="prior to write, .safetensors; checkpoints go beside it")
    parser.add_argument("--size", choices=list(SIZES), default="base")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, help="number of updates instead of a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--table", choices=list("ABCDE"), help="this CDL table alone, not the randomised family")
    arguments = parser.parse_args()
    train(**vars(arguments), report=functools.partial(print, flush=True))


if __name__ == "__main__":
    main()
