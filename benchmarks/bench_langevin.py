"""One step of all chains of the Langevin sampler, natively and written in torch, and whole detections."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from timing import measure, report

from jadce_fast import CellPrior, LangevinReceiver
from jadce_fast.anneal import preconditioned_level
from jadce_fast.simulation import CellScenario, draw_cell


def torch_step(rx, drop, level, mean):
    """The same step on complex tensors: rotate, likelihood, score, noise, rotate back."""
    u, s, vh = torch.linalg.svd(torch.from_numpy(drop.pilots))
    back = u.mH.contiguous()
    rotated = torch.zeros(rx.antennas, rx.devices, dtype=torch.complex64)
    rotated[:, : len(s)] = torch.from_numpy(drop.y) @ vh.mH[:, : len(s)]
    pull, decay, force, noise = (
        torch.from_numpy(np.asarray(c, np.float32)) for c in (level.pull, level.decay, level.force, level.noise)
    )
    state = torch.randn(rx.chains, rx.antennas, rx.devices, dtype=torch.complex64)

    def step():
        nonlocal state
        d = mean @ u
        zeta = torch.randn(state.shape, dtype=torch.complex64)
        state = state + pull * (d - state) - decay * state + force * rotated + noise * zeta
        return state @ back

    return step


def torch_denoise(prior, sigma, antennas):
    """The exact posterior mean of all columns."""
    rate, offset, gain = (torch.from_numpy(t).float() for t in prior.tables(sigma**2, antennas))
    v = sigma**2

    def denoise(x):
        energy = (x.real**2 + x.imag**2).sum(1)
        exponent = offset - energy[..., None] * rate
        zero = -energy / v
        top = torch.maximum(exponent.amax(-1), zero)
        weight = torch.exp(exponent - top[..., None])
        total = weight.sum(-1) + torch.exp(zero - top)
        return x * ((weight * gain).sum(-1) / total)[:, None]

    return denoise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows, detections = [], []
    for antennas, devices, symbols, chains in ((16, 64, 48, 1), (16, 64, 48, 8), (64, 64, 48, 8), (16, 256, 128, 8)):
        drop = draw_cell(CellScenario(antennas=antennas, devices=devices, symbols=symbols), 0, 1)
        rx = LangevinReceiver(drop.pilots, antennas, chains=chains, threads=args.threads)
        rx.detect(drop.y, drop.noise_var)
        level = preconditioned_level(0.3, rx._singular, drop.noise_var, 0.7)
        table = np.zeros((4, rx._native.padded), np.float32)
        table[:, :devices] = level.pull, level.decay, level.force, level.noise
        prior = CellPrior()
        tables = prior.tables(0.09, antennas)
        mixture = np.zeros((3, -(-len(tables[0]) // 16) * 16), np.float32)
        mixture[1] = -1e30
        mixture[:, : len(tables[0])] = tables
        everyone, native = list(range(chains)), rx._native
        mean = torch.randn(chains, antennas, devices, dtype=torch.complex64)
        step, denoise = torch_step(rx, drop, level, mean), torch_denoise(prior, 0.3, antennas)
        ours = measure(lambda: native.step(everyone, 0, 1, table))["p50_ms"]
        theirs = measure(step)["p50_ms"]
        ours_both = measure(lambda: native.anneal(everyone, 0, 1, 10, table, 0.09, mixture, False))["p50_ms"] / 10
        theirs_both = measure(lambda: denoise(step()))["p50_ms"]
        size = {"M": antennas, "N": devices, "L": symbols, "chains": chains}
        given = {"step, us": 1e3 * ours, "torch, us": 1e3 * theirs, "ratio": theirs / ours}
        both = {"with score, us": 1e3 * ours_both, "torch, us ": 1e3 * theirs_both, "ratio ": theirs_both / ours_both}
        rows.append(size | given | both)
        detections.append(size | measure(lambda: rx.detect(drop.y, drop.noise_var), seconds=1.0))
    report(f"One Langevin step of all chains, {args.threads} threads", rows)
    report(f"Langevin detection, 121 steps of all chains, {args.threads} threads", detections)


if __name__ == "__main__":
    main()
