"""Prints how STMP as printed ends with several denoisers and rules of variances: ``python scripts/printed_stmp.py``.

Ten minutes, most of them in the paper's networks, through which all K devices go in every iteration; after "told:" only
the active ones do, and the others are known to be silent. Before it: what denoisers make of noise alone.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt

from jadce_fast.baselines import printed_stmp
from jadce_fast.campaigns import Drop, GeniePrior, Scenario, draw_drop
from jadce_fast.campaigns.ofdm_campaign import GENIE
from jadce_fast.metrics import score
from jadce_fast.priors.files import load_prior

TOLD = "told:"  # before the name of a prior


class Told:
    """A prior that is told who is active: an idle device's channel is zero, and it knows that."""

    def __init__(self, prior: Any, active: npt.NDArray[np.int64]) -> None:
        self._prior, self._active = prior, active

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prior, name)

    def denoise(self, z: Any, noise_var: Any, devices: Any = None) -> tuple[Any, Any]:
        """Posterior mean and error variance; see `Prior.denoise`."""
        mean, var = np.zeros_like(z), np.zeros(noise_var.shape, np.float32)
        known = np.isin(devices, self._active)
        mean[known], var[known] = self._prior.denoise(z[known], noise_var[known], devices[known])
        return mean, var


def load(name: str, drop: Drop, antennas: int) -> Any:
    if name.startswith(TOLD):
        return Told(load_prior(name.removeprefix(TOLD)), drop.active)
    if name != GENIE:
        return load_prior(name)
    prior = GeniePrior(load_prior("cdl"))
    prior.reveal(drop.active, drop.paths, antennas)
    return prior


def of_noise(prior: Any, variance: float, antennas: int) -> float:
    """Mean energy of an entry of what a denoiser makes of noise alone; an active device's is one."""
    rng, shape = np.random.default_rng(0), (8, prior.basis.shape[1], antennas)
    noise = rng.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0] * np.float32((variance / 2) ** 0.5)
    mean, _ = prior.denoise(noise, np.full((8, antennas), variance, np.float32), np.arange(8))
    return float(np.sum(np.abs(mean) ** 2) / (8 * prior.subcarriers * antennas))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=800)
    parser.add_argument("--symbols", type=int, default=30)
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--damping", type=float, default=0.8)
    parser.add_argument("--denoisers", nargs="+", default=[GENIE, "cdl-tiny", "cdl", "ncsn-c", TOLD + "ncsn-c"])
    options = parser.parse_args()
    print("| denoiser | of noise of variance 50 | 10 | 3 |\n|---|---|---|---|")
    for name in options.denoisers:
        if name != GENIE and not name.startswith(TOLD):
            made = (f"{of_noise(load_prior(name), variance, 32):.3f}" for variance in (50.0, 10.0, 3.0))
            print(f"| `{name}` | " + " | ".join(made) + " |", flush=True)
    print()
    scenario = Scenario(options.devices, options.symbols)
    drop = draw_drop(scenario, seed=97)
    print("| denoiser | variances | NMSE | misses | false alarms |\n|---|---|---|---|---|")
    for name in options.denoisers:
        prior = load(name, drop, 32)
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
