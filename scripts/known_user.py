"""Measures the table of docs/embedding-python.md of one known user: ``python scripts/known_user.py``.

Channel estimators of Sionna beside ``jadce_fast.sionna.GrantFreeEstimator`` on the same received grids of one user. The
LMMSE ones know the covariances over subcarriers and antennas of channels like the user's.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
import torch
from sionna.phy.ofdm import LMMSEChannelEstimator, LSChannelEstimator, ResourceGrid

import jadce_fast as jf
from jadce_fast.sionna import GrantFreeEstimator, GrantFreePattern

ANTENNAS, SUBCARRIERS, SYMBOLS = 32, 48, 4


class Error(NamedTuple):
    """Relative to the power of channels: the error that was made, and the one that the estimator promised."""

    made: float
    promised: float


class KnownUser:
    """A user's pilots on the first symbol of a grid, and its estimators by name.

    Those of Sionna that want covariances have them of `examples` (A, N, M).
    """

    def __init__(self, examples: np.ndarray) -> None:
        bits = np.random.default_rng(0).integers(0, 4, (1, SUBCARRIERS, 1))
        self.pilots = np.exp(1j * np.pi / 4 * (2 * bits + 1)).astype(np.complex64)
        grid = ResourceGrid(SYMBOLS, SUBCARRIERS, 30e3, pilot_pattern=GrantFreePattern(self.pilots, SYMBOLS))
        frequency, space = (covariance(examples.transpose(axes)) for axes in ((1, 0, 2), (2, 0, 1)))
        time = torch.ones(SYMBOLS, SYMBOLS, dtype=torch.complex64)  # channels do not change within a grid
        receiver = jf.Receiver(self.pilots, ANTENNAS, "cdl", activity_rate=0.5, power=1.0)
        self.estimators = {
            "LS, linear interpolation": LSChannelEstimator(grid, "lin_time_avg"),
            "LMMSE, time and frequency": LMMSEChannelEstimator(grid, time, frequency, order="t-f"),
            "LMMSE, time, frequency and space": LMMSEChannelEstimator(grid, time, frequency, space, order="t-f-s"),
            "this library": GrantFreeEstimator(grid, receiver),
        }

    def errors(self, channels: np.ndarray, snr_db: float, seed: int = 0) -> dict[str, Error]:
        """Errors of all estimators in the same noise, of users with channels (A, N, M) one at a time."""
        noise_var = 10 ** (-snr_db / 10)
        rng = np.random.default_rng(seed)
        h = channels.transpose(0, 2, 1)[:, None, :, None]  # (A, 1, M, 1, N)
        y = np.zeros((len(h), 1, ANTENNAS, SYMBOLS, SUBCARRIERS), np.complex64)
        y[..., :1, :] = h * self.pilots[:, :, 0]
        y.real += np.sqrt(noise_var / 2) * rng.standard_normal(y.shape, np.float32)
        y.imag += np.sqrt(noise_var / 2) * rng.standard_normal(y.shape, np.float32)
        power, found = float(np.mean(np.abs(h) ** 2)), {}
        for name, estimator in self.estimators.items():
            estimate, promised = estimator(torch.from_numpy(y), torch.tensor(noise_var, dtype=torch.float32))
            made = np.mean(np.abs(estimate[:, :, :, 0, 0].numpy() - h) ** 2)
            found[name] = Error(float(made) / power, float(promised.expand(estimate.shape).mean()) / power)
        return found


def covariance(rows: np.ndarray) -> torch.Tensor:
    """Of the first axis, per entry of the others."""
    flat = rows.reshape(len(rows), -1)
    return torch.from_numpy(flat @ flat.conj().T / flat.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--examples", type=int, default=5000, help="channels behind the covariances")
    parser.add_argument("--snr", type=float, nargs="+", default=[-10, 0, 10, 20])
    args = parser.parse_args()
    torch.set_num_threads(1)
    user = KnownUser(jf.channels.cdl(args.examples, "C", SUBCARRIERS, ANTENNAS, seed=1))
    channels = jf.channels.cdl(args.users, "C", SUBCARRIERS, ANTENNAS, seed=2)
    rows = [user.errors(channels, snr_db) for snr_db in args.snr]
    print("| | " + " | ".join(f"{snr_db:g} dB" for snr_db in args.snr) + " |\n|---|" + "---|" * len(rows))
    for name in user.estimators:
        made = (10 * np.log10(row[name].made) for row in rows)
        ratios = (row[name].promised / row[name].made for row in rows)
        print(f"| {name} | " + " | ".join(f"{m:.1f} dB ({r:.2f})" for m, r in zip(made, ratios, strict=True)) + " |")


if __name__ == "__main__":
    main()
