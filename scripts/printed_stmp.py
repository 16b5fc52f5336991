"""Prints how STMP as printed ends with several denoisers and rules of variances: ``python scripts/printed_stmp.py``.

Ten minutes, most of them in the paper's networks, through which all K devices go in every iteration.
"""

from __future__ import annotations

import argparse

from jadce_fast.baselines import printed_stmp
from jadce_fast.campaigns import GeniePrior, Scenario, draw_drop
from jadce_fast.metrics import score
from jadce_fast.priors.files import load_prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=800)
    parser.add_argument("--symbols", type=int, default=30)
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--damping", type=float, default=0.8)
    parser.add_argument("--denoisers", nargs="+", default=["genie", "cdl-tiny", "cdl", "ncsn-c"])
    options = parser.parse_args()
    scenario = Scenario(options.devices, options.symbols)
    drop = draw_drop(scenario, seed=97)
    print("| denoiser | variances | NMSE | misses | false alarms |\n|---|---|---|---|---|")
    for name in options.denoisers:
        prior = GeniePrior(load_prior("cdl")) if name == "genie" else load_prior(name)
        if isinstance(prior, GeniePrior):
            prior.reveal(drop.active, drop.paths, scenario.antennas)
        for variance in ("paper", "residual"):
            receiver = printed_stmp(
                drop.pilots,
                scenario.antennas,
                prior,
                scenario.activity_rate,
                variance=variance,
                iterations=options.iterations,
                damping=options.damping,
            )
            found = receiver.detect(drop.y, drop.noise_var)
            errors = score(found, drop.active, drop.channels)
            nmse = f"{errors.nmse_db:.1f}".replace("-", "−")
            print(f"| `{name}` | {variance} | {nmse} dB | {errors.missed} | {errors.false_alarms} |", flush=True)


if __name__ == "__main__":
    main()
