"""Matched-filter energies of all devices (module A) against SciPy's FFT on the dense state; answers are compared."""

from __future__ import annotations

import numpy as np
import scipy.fft
from timing import bandwidth_gb_s, measure, peak_gflop_s, report

import jadce_fast as jf
from jadce_fast import ops


def dense(r, rows, devices, basis, threads):
    """The plain way: scatter to (K, N, M), one inverse FFT of length K a subcarrier and beam, KLT, energies."""
    _, n, m = r.shape
    state = np.zeros((devices, n, m), np.complex64)
    state[rows, np.arange(n)[None]] = r
    x = scipy.fft.ifft(state, axis=0, norm="forward", overwrite_x=True, workers=threads)
    z = basis.conj().T @ x  # (K, P, M)
    return z.real**2 + z.imag**2


def main() -> None:
    prior = jf.load_prior("cdl")
    threads = ops.default_threads()
    peak, bandwidth = peak_gflop_s(threads), bandwidth_gb_s(threads)
    rows = []
    for devices in (800, 1600, 3000):
        for symbols in (10, 20, 40, 80):
            rng = np.random.default_rng(0)
            pilots = jf.dft_pilots(devices, symbols, 48)
            plan = ops.Transform(pilots, 32, prior.basis)
            shape = (symbols, 48, 32)
            r = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
            out = np.empty((devices, plan.coefficients, 32), np.float32)
            expected = dense(r, pilots.rows, devices, prior.basis, threads)
            assert np.linalg.norm(ops.energies(plan, r, out) - expected) <= 1e-5 * np.linalg.norm(expected)
            ours = measure(lambda plan=plan, r=r, out=out: ops.energies(plan, r, out), seconds=1.0)
            plain = measure(
                lambda r=r, pilots=pilots, devices=devices: dense(r, pilots.rows, devices, prior.basis, threads),
                seconds=1.0,
                least=3,
            )
            transforms = plan.coefficients * 32
            flop = transforms * (5 * devices * np.log2(devices) + 8 * 48 * symbols + 3 * devices)
            floor = max(flop / peak / 1e6, (r.nbytes + out.nbytes) / bandwidth / 1e6)
            rows.append(
                {"K": devices, "T": symbols, "p50 ms": ours["p50_ms"], "p99 ms": ours["p99_ms"]}
                | {"SciPy p50 ms": plain["p50_ms"], "x SciPy": plain["p50_ms"] / ours["p50_ms"]}
                | {"Gflop/s": flop / ours["p50_ms"] / 1e6, "of limit": floor / ours["p50_ms"]}
            )
    print(
        f"copy {bandwidth:.0f} GB/s, matrix product {peak:.0f} Gflop/s on {threads} threads; limit: the slower of both"
    )
    report("Matched-filter energies, N=48, M=32, P=12", rows)


if __name__ == "__main__":
    main()
