"""LMMSE over all devices, the baseline of Tang et al., on OFDM blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...pilots import Pilots
from .block_receiver import (
    BlockReceiver,
    Complex,
    Found,
    PilotProduct,
    Power,
    check_plan,
    check_power,
    log_odds,
    mean_power,
    plans_anew,
    sigmoid,
)


@plans_anew
def linear(
    pilots: Pilots | npt.ArrayLike, antennas: int, activity_rate: float = 0.05, power: Power = "unknown"
) -> BlockReceiver:
    """Plan LMMSE estimation of all channels, taken for uncorrelated with the mean power of all devices.

    The paper does not tell how LMMSE decides who is active. Here it is by the likelihood ratio of a device's energy,
    its estimate without bias being a Gaussian observation of its channel.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
    antennas : int
        M.
    activity_rate : float
    power : "unknown" or float
        Mean received power of an active device.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    """
    planned, m, rate = check_plan(pilots, antennas, activity_rate)
    level, product = check_power(power), PilotProduct(planned)
    gram = (product.array @ product.array.conj().transpose(0, 2, 1)).astype(np.complex128)  # (N, T, T)

    def search(y: Complex, noise: float) -> Found:
        g = mean_power(y, noise, planned, rate, level)
        inverse = np.linalg.inv(gram + noise / (rate * g) * np.eye(planned.symbols))
        filtered = inverse.astype(np.complex64) @ y.transpose(1, 0, 2)
        x = product.adjoint(filtered)
        gain = np.real(np.einsum("ntu,nut->n", inverse, gram))[:, None] / planned.devices  # (N, 1), mean over devices
        seen = np.sum(np.abs(x) ** 2, axis=2) / gain**2  # (N, K), energy of estimates without bias
        noise_seen = rate * g * np.maximum(1 / gain - 1, 1e-12)  # with T = K and little noise the gain rounds to one
        excess = g / (noise_seen * (noise_seen + g))
        llr = np.sum(excess * seen, axis=0) - m * float(np.sum(np.log1p(g / noise_seen)))
        probability = sigmoid(llr + log_odds(rate))
        active = np.flatnonzero(probability >= 0.5)
        channels = x[:, active].transpose(1, 0, 2)
        # Of an active device, whose power is more than the mean of all: bias and noise of the estimate.
        error = float(np.mean((1 - gain) ** 2 * g + gain**2 * noise_seen))
        variance = np.full(len(active), error)
        return Found(probability, channels, variance, 1, "fixed point", freedom=planned.subcarriers)

    return BlockReceiver(planned, m, search)
