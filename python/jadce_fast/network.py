"""The score network: a denoiser of KLT coefficients over the beams of an array, told the noise of every beam."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn



class CircularConv(nn.Conv1d):
    """Convolution over beams, which are periodic: output beam b sees beams b - taps//2 ... b + taps//2."""

    def __init__(self, inputs: int, outputs: int, taps: int) -> None:
        super().__init__(inputs, outputs, taps)

    def forward(self, x: Tensor) -> Tensor:
        """Map [A, inputs, M] to [A, outputs, M]."""
        reach = self.weight.shape[2] // 2
        return F.conv1d(F.pad(x, (reach, reach), mode="circular"), self.weight, self.bias)


class Residual(nn.Module):
    """x + mix(silu(conv(x))), with `conv` over beams from `width` to `hidden` channels and `mix` back, beam by beam."""

    def __init__(self, width: int, hidden: int, taps: int) -> None:
        super().__init__()
        self.conv = CircularConv(width, hidden, taps)
        self.mix = nn.Conv1d(hidden, width, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [A, width, M] to [A, width, M]."""
        return x + self.mix(F.silu(self.conv(x)))


class BeamNetwork(nn.Module):
    """Posterior mean and error variance of a unit-power channel's KLT coefficients in beamspace.

    Coefficient p of every beam has mean power ``eigenvalues[p]`` and is observed in complex noise of variance v[b].
    The network adds to the population Wiener estimate a correction in units of the population Wiener error, so it is
    right in both limits of the noise whatever its weights. It is equivariant to circular shifts of the beams.

    Parameters
    ----------
    eigenvalues : (P,) tensor
        Mean power of every kept KLT coefficient per antenna.
    subcarriers : int
        N, to which the error variance is normalised.
    width, hidden, blocks, taps : int
        Channels of the trunk, channels inside a block, number of blocks, odd number of beams a convolution sees.

    Notes
    -----
    With s = eigenvalues + v, u = z / sqrt(s), wiener error e = eigenvalues v / s, the input of the first convolution
    has 3 P + 1 channels: 1.4 Re u, 1.4 Im u, log(|u|^2 + 1e-3) / 2, log(v) / 4. The last layer has 2 P + 1 outputs
    f: the mean is z eigenvalues / s + 0.7 sqrt(e / (1 + v / 1000)) f[:2 P], and the variance sum(e) / N exp(f[2 P]).

    Weights, all float32 and C-contiguous, in order of evaluation:

    ==================================  ======================================
    ``inp.weight``, ``inp.bias``        (width, 3 P + 1, taps), (width,)
    ``body.I.conv.weight``, ``.bias``   (hidden, width, taps), (hidden,)
    ``body.I.mix.weight``, ``.bias``    (width, hidden, 1), (width,)
    ``out.weight``, ``out.bias``        (2 P + 1, width, 1), (2 P + 1,)
    ==================================  ======================================

    Tap t of a convolution reads beam b + t - taps // 2 (modulo M).
    """

    eigenvalues: Tensor

    def __init__(
        self, eigenvalues: Tensor, subcarriers: int, width: int = 64, hidden: int = 64, blocks: int = 4, taps: int = 5
    ) -> None:
        super().__init__()
        p = len(eigenvalues)
        self.coefficients = p
        self.subcarriers = subcarriers
        self.architecture = {"width": width, "hidden": hidden, "blocks": blocks, "taps": taps}
        self.register_buffer("eigenvalues", eigenvalues.float().clone())
        self.inp = CircularConv(3 * p + 1, width, taps)
        self.body = nn.Sequential(*[Residual(width, hidden, taps) for _ in range(blocks)])
        self.out = nn.Conv1d(width, 2 * p + 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Denoise.

        Parameters
        ----------
        z : (A, 2 P, M) tensor
            Noisy coefficients: P real parts, then P imaginary parts.
        v : (A, M) tensor
            Complex noise variance of every beam.

        Returns
        -------
        mean : (A, 2 P, M) tensor
            Posterior mean.
        var : (A, M) tensor
            Posterior error variance, summed over coefficients and divided by the number of subcarriers.
        """
        p = self.coefficients
        noise = v[:, None, :].clamp_min(1e-20)
        lam = self.eigenvalues[None, :, None]
        total = lam + noise
        gain = lam / total
        error = gain * noise
        scale = total.rsqrt()
        white = z * torch.cat([scale, scale], 1)
        energy = white[:, :p].square() + white[:, p:].square()
        level = noise.clamp(1e-5, 1e3).log()
        x = torch.cat([1.4 * white, 0.5 * (energy + 1e-3).log(), 0.25 * level], 1)
        f = self.out(self.body(self.inp(x))).float()
        step = 0.7 * (error / (1 + noise / 1e3)).sqrt()
        mean = z * torch.cat([gain, gain], 1) + torch.cat([step, step], 1) * f[:, : 2 * p]
        var = error.sum(1) / self.subcarriers * f[:, 2 * p].clamp(-12.0, 4.0).exp()
        return mean, var

    def multiplications(self, antennas: int) -> int:
        """Multiply-accumulate operations of all convolutions for one device."""
        convolutions = [m for m in self.modules() if isinstance(m, nn.Conv1d)]
        return antennas * sum(m.weight.numel() for m in convolutions)
