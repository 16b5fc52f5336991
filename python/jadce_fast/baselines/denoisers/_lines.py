"""State of two-dimensional variational line-spectrum inference for a chunk of channels: the steps of VALSE.

B channels, L slots for components. Component l is w_l a(theta_l) b(phi_l)^T with a_n = e^{jn theta}, b_m =
e^{jm phi}, indices counted from the middle. Noise has the precision W / nu over antennas, trace W = M.
The equations are in docs/baselines.md; they are those of Badiu, Hansen and Fleury but for two dimensions and W.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from . import _von_mises
from ._von_mises import Complex, Floats

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Lines:
    """Posteriors of amplitudes, support and frequencies, and the model parameters."""

    def __init__(self, y: Complex, weights: Floats, noise: Floats, learn_noise: bool, slots: int) -> None:
        count, n, m = y.shape
        self.y = y
        self.n, self.m, self.slots, self.learn_noise = n, m, slots, learn_noise
        self.over_n = np.arange(n, dtype=np.float64) - n // 2
        self.over_m = np.arange(m, dtype=np.float64) - m // 2
        lag = np.arange(m)
        # W = F^H diag(weights) F is circulant; its first column is a DFT of the weights.
        column = fft.ifft(weights, axis=1)
        self.precision = column[:, (lag[:, None] - lag) % m]  # (B, M, M)
        self.coloured = bool(np.ptp(weights) > 1e-9)
        # b^H W b = Re sum_d lags_d e^{-jd phi}, d = 0 ... M - 1
        self.lags = column * (m - lag) * np.where(lag, 2, 1)
        self.wy = y @ self.precision.transpose(0, 2, 1)
        self.energy = np.sum((y.conj() * self.wy).real, axis=(1, 2))
        self.noise = noise  # nu, (B,)
        # The authors' start: half of the potential components are active; of those there are as many as data.
        self.rate = np.full(count, 0.5)
        excess = np.maximum(self.energy / (n * m) - noise, 1e-3 * noise)
        self.variance = excess / 10  # tau, (B,), as if ten components shared the power
        self.theta, self.phi = np.zeros((2, count, slots))
        self.kappa_theta, self.kappa_phi = np.full((2, count, slots), 1e-3)
        self.a = np.zeros((count, slots, n), np.complex128)
        self.b = np.zeros((count, slots, m), np.complex128)
        self.wb = np.zeros((count, slots, m), np.complex128)
        self.norm = np.full((count, slots), float(n * m))  # E of a^H a b^H W b
        self.used = np.zeros((count, slots), bool)
        self.active = np.zeros((count, slots), bool)
        self.limit = np.full(count, slots)  # most active components of each channel
        self.gram = np.zeros((count, slots, slots), np.complex128)
        self.match = np.zeros((count, slots), np.complex128)
        self.w = np.zeros((count, slots), np.complex128)
        self.cov = np.zeros((count, slots, slots), np.complex128)
        self.fitted = np.zeros((count, slots), np.complex128)  # J w
        self.explained = np.zeros((count, slots))  # j_k^H C j_k

    def keep(self, mask: Bools) -> None:
        """Drop channels."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and not name.startswith("over_"):
                setattr(self, name, value[mask])

    def trim(self, spare: int) -> None:
        """Leave every channel `spare` slots more than it has used: costs are quadratic or cubic in their number."""
        self.limit = np.minimum(self.used.sum(1) + spare, self.slots)
        slots = int(self.limit.max())
        for name in ("theta", "phi", "kappa_theta", "kappa_phi", "a", "b", "wb", "norm", "used", "active"):
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[:, :slots]))
        for name in ("match", "w", "fitted", "explained"):
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[:, :slots]))
        self.gram, self.cov = (np.ascontiguousarray(v[:, :slots, :slots]) for v in (self.gram, self.cov))
        self.slots = slots

    def reconstruction(self) -> Complex:
        """Posterior mean of the channels, (B, N, M)."""
        return np.asarray(self.a.transpose(0, 2, 1) @ (self.w[:, :, None] * self.b))

    def _set_angle_moments(self, rows: Ints, slot: Ints) -> None:
        self.b[rows, slot] = _von_mises.moments(self.phi[rows, slot], self.kappa_phi[rows, slot], self.over_m)
        self.wb[rows, slot] = (self.precision[rows] @ self.b[rows, slot][:, :, None])[:, :, 0]
        if self.coloured:
            lag = np.arange(self.m, dtype=np.float64)
            raised = _von_mises.moments(self.phi[rows, slot], self.kappa_phi[rows, slot], lag)
            self.norm[rows, slot] = self.n * np.sum((self.lags[rows] * raised.conj()).real, axis=1)

    def _set_delay_moments(self, rows: Ints, slot: Ints) -> None:
        self.a[rows, slot] = _von_mises.moments(self.theta[rows, slot], self.kappa_theta[rows, slot], self.over_n)

    # --- new components -------------------------------------------------------------------------------------

    def propose(self) -> Bools:
        """Add a component at the largest peak of the noncoherent spectrum of the residual where that pays.

        The spectrum is the logarithm of the marginal likelihood of one more component, its
        posterior is the von Mises density at the peak. Returns the channels that got one.
        """
        rows = np.flatnonzero(self.active.sum(1) < self.limit)
        added = np.zeros(len(self.y), bool)
        if not rows.size:
            return added
        slot = np.argmin(self.active[rows], axis=1)
        weighted = (self.y[rows] - self.reconstruction()[rows]) @ self.precision[rows].transpose(0, 2, 1)
        size_n, size_m = 2 * self.n, 2 * self.m
        spectrum = np.abs(fft.fft2(weighted.astype(np.complex64), (size_n, size_m))) ** 2
        gain = fft.fft(self.lags[rows], size_m, axis=1).real.clip(1e-12)  # b^H W b on the grid
        best = np.argmax((spectrum / gain[:, None]).reshape(len(rows), -1), axis=1)
        theta, phi = 2 * np.pi / size_n * (best // size_m), 2 * np.pi / size_m * (best % size_m)
        scale, lag = 1 / np.sqrt(self.noise[rows] * self.n)[:, None], np.arange(self.m)
        for _ in range(3):
            over_delay = (weighted @ np.exp(-1j * phi[:, None] * self.over_m)[:, :, None])[:, :, 0]
            length = np.sum((self.lags[rows] * np.exp(-1j * phi[:, None] * lag)).real, axis=1, keepdims=True)
            theta, kappa_theta = _von_mises.peak(over_delay * scale, self.over_n, theta, length + 0j)
            over_angle = (np.exp(-1j * theta[:, None] * self.over_n)[:, None] @ weighted)[:, 0]
            phi, kappa_phi = _von_mises.peak(over_angle * scale, self.over_m, phi, self.lags[rows])
        self.theta[rows, slot], self.phi[rows, slot] = theta, phi
        self.kappa_theta[rows, slot], self.kappa_phi[rows, slot] = kappa_theta, kappa_phi
        self._set_delay_moments(rows, slot)
        self._set_angle_moments(rows, slot)
        self.used[rows, slot] = True
        a, wb = self.a[rows, slot], self.wb[rows, slot]
        column = (self.a[rows].conj() @ a[:, :, None] * (self.b[rows].conj() @ wb[:, :, None]))[:, :, 0]
        self.gram[rows, :, slot], self.gram[rows, slot] = column, column.conj()
        self.gram[rows, slot, slot] = self.norm[rows, slot]
        self.match[rows, slot] = np.einsum("bn,bnm,bm->b", a.conj(), self.wy[rows], self.b[rows, slot].conj())
        self.fitted[rows, slot] = np.einsum("bl,bl->b", self.gram[rows, slot], self.w[rows])
        projected = (self.cov[rows] @ column[:, :, None])[:, :, 0]
        self.explained[rows, slot] = np.sum((column.conj() * projected).real, axis=1)
        gains = self.gains()
        pays = gains[rows, slot] > 0
        self.flip(rows[pays], slot[pays])
        added[rows[pays]] = True
        return added

    # --- support and amplitudes -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Gram matrix J, matches h, and the Gaussian posterior of the active amplitudes."""
        self.gram = (self.a.conj() @ self.a.transpose(0, 2, 1)) * (self.b.conj() @ self.wb.transpose(0, 2, 1))
        diagonal = np.arange(self.slots)
        self.gram[:, diagonal, diagonal] = self.norm
        self.match = np.sum((self.a.conj() @ self.wy) * self.b.conj(), axis=2)
        both = self.active[:, :, None] & self.active[:, None, :]
        system = np.where(both, self.gram, 0)
        system[:, diagonal, diagonal] += np.where(self.active, (self.noise / self.variance)[:, None], 1)
        self.cov = np.where(both, np.linalg.inv(system) * self.noise[:, None, None], 0)
        self.w = (self.cov @ self.match[:, :, None])[:, :, 0] / self.noise[:, None]
        projected = self.cov @ self.gram
        self.explained = np.sum((self.gram.conj() * projected).real, axis=1)
        self.fitted = (self.gram @ self.w[:, :, None])[:, :, 0]

    def _candidate(self) -> tuple[Floats, Complex]:
        """Variance and mean that the amplitude of an inactive component would have."""
        noise = self.noise[:, None]
        room = np.maximum(self.norm - self.explained / noise, 0) + noise / self.variance[:, None]
        variance = noise / room
        return variance, variance * (self.match - self.fitted) / noise

    def gains(self) -> Floats:
        """Growth of the objective by switching each component on or off; -inf if unused."""
        variance, mean = self._candidate()
        own = np.einsum("bll->bl", self.cov).real
        variance = np.where(self.active, np.where(own > 0, own, 1), variance)
        mean = np.where(self.active, self.w, mean)
        odds = (np.log(self.rate) - np.log1p(-self.rate))[:, None]
        on = np.log(variance / self.variance[:, None]) + np.abs(mean) ** 2 / variance + odds
        return np.where(self.used, np.where(self.active, -on, on), -np.inf)

    def flip(self, rows: Ints, slot: Ints) -> None:
        """Switch component slot[i] of channel rows[i]; rank-one updates of the posterior."""
        if not rows.size:
            return
        each = np.arange(len(rows))
        was = self.active[rows, slot]
        cov, gram = self.cov[rows], self.gram[rows]
        variance, mean = (v[rows, slot] for v in self._candidate())
        add = -(cov @ gram[each, :, slot][:, :, None])[:, :, 0] / self.noise[rows, None]
        add[each, slot] = 1
        own = cov[each, slot, slot].real
        remove = cov[each, :, slot] / np.where(was, own, 1)[:, None]
        direction = np.where(was[:, None], remove, add)
        size = np.where(was, -own, variance)
        move = np.where(was, -self.w[rows, slot], mean)
        self.cov[rows] = cov + size[:, None, None] * direction[:, :, None] * direction[:, None, :].conj()
        self.w[rows] += move[:, None] * direction
        through = (gram @ direction[:, :, None])[:, :, 0]
        self.explained[rows] += size[:, None] * np.abs(through) ** 2
        self.fitted[rows] += move[:, None] * through
        gone, at = rows[was], slot[was]
        self.cov[gone, at], self.cov[gone, :, at], self.w[gone, at] = 0, 0, 0
        self.active[rows, slot] = ~was

    def choose_support(self) -> None:
        """Switch the component that raises the objective most, until none does."""
        for _ in range(2 * self.slots):
            gains = self.gains()
            slot = np.argmax(gains, axis=1)
            rows = np.flatnonzero(gains[np.arange(len(slot)), slot] > 1e-9)
            if not rows.size:
                return
            self.flip(rows, slot[rows])

    # --- frequencies ----------------------------------------------------------------------------------------

    def update_frequencies(self) -> None:
        """Posteriors of the frequencies of active components, one after the other."""
        residual = self.y - self.reconstruction()
        for l in np.flatnonzero(self.active.any(0)):
            rows = np.flatnonzero(self.active[:, l])
            everyone = len(rows) == len(self.y)
            part = slice(None) if everyone else rows
            slot = np.full(len(rows), l)
            w, energy = self.w[part, l, None], np.abs(self.w[part, l, None]) ** 2
            coupling = self.cov[part, :, l].copy()
            own = coupling[:, l].real.copy()
            coupling[:, l] = 0
            twice = 2 / self.noise[part, None]
            # Copies, as the moments below replace them in place.
            a, b, wb, here = self.a[part, l].copy(), self.b[part, l].copy(), self.wb[part, l], residual[part]
            inner = (self.b[part] @ wb.conj()[:, :, None])[:, :, 0]
            c = w.conj() * (here @ wb.conj()[:, :, None])[:, :, 0] + energy * inner[:, l, None] * a
            c -= ((coupling * inner)[:, None] @ self.a[part])[:, 0]
            self.theta[part, l], self.kappa_theta[part, l] = _von_mises.fit(twice * c, self.over_n)
            self._set_delay_moments(rows, slot)
            new = self.a[part, l]
            here = here + (w * (a - new))[:, :, None] * b[:, None]
            a = new
            inner = (self.a[part] @ a.conj()[:, :, None])[:, :, 0]
            c = w.conj() * (a.conj()[:, None] @ here)[:, 0] + energy * inner[:, l, None] * b
            c -= ((coupling * inner)[:, None] @ self.b[part])[:, 0]
            c = twice * (self.precision[part] @ c[:, :, None])[:, :, 0]
            index = self.over_m
            if self.coloured:
                index = np.arange(-(self.m // 2), self.m, dtype=np.float64)
                padded = np.zeros((len(rows), len(index)), np.complex128)
                padded[:, : self.m] = c
                second_moment = (energy + own[:, None]) * self.n / self.noise[part, None]
                padded[:, self.m // 2 :] -= second_moment * self.lags[part]
                c = padded
            self.phi[part, l], self.kappa_phi[part, l] = _von_mises.fit(c, index)
            self._set_angle_moments(rows, slot)
            residual[part] = here + (w * a)[:, :, None] * (b - self.b[part, l])[:, None]

    # --- parameters -----------------------------------------------------------------------------------------

    def update_parameters(self) -> None:
        """Activity, amplitude variance and, unless given, noise variance."""
        size = self.n * self.m
        number = self.active.sum(1)
        second_moment = np.sum(np.abs(self.w) ** 2, axis=1) + np.einsum("bll->b", self.cov).real
        self.rate = np.clip(number / size, 0.5 / size, 1 - 0.5 / size)
        some = number > 0
        self.variance[some] = second_moment[some] / number[some]
        if self.learn_noise:
            quadratic = np.einsum("bl,blk,bk->b", self.w.conj(), self.gram, self.w).real
            cross = np.sum((self.w.conj() * self.match).real, axis=1)
            spread = np.einsum("blk,bkl->b", self.gram, self.cov).real
            error = (self.energy - 2 * cross + quadratic + spread) / size
            self.noise = np.maximum(error, 1e-10)  # channels have unit power; Gram matrices stay regular
