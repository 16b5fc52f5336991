"""The score network: denoises KLT coefficients over the beams of an array, told the noise of every beam."""

# No postponed annotations here: TorchScript could not resolve them.

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .beam_weights import BeamWeights
from .plain_torch import plain_torch


class CircularDepthwise(torch.autograd.Function):  # type: ignore[misc]
    """`Depthwise` with its own gradient: a third of the memory traffic of autograd's, for training on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        """Map [A, M, width] to [A, M, width]."""
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _correlate(x, weight, dilation).add_(bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients by x, weight and bias."""
        x, weight = ctx.saved_tensors
        taps = weight.shape[1]
        around = _around(x, taps // 2 * ctx.dilation)
        shifts = [around[:, t * ctx.dilation : t * ctx.dilation + x.shape[1]] for t in range(taps)]
        by_weight = torch.stack([(g * shifted).sum((0, 1)) for shifted in shifts], 1)
        return _correlate(g, weight.flip(1), ctx.dilation), by_weight, g.sum((0, 1)), None


def _around(x: Tensor, reach: int) -> Tensor:
    """Beams -reach ... M - 1 + reach of a circular array; `reach` may exceed M."""
    beams = x.shape[1]
    if reach > beams:
        return x[:, torch.arange(-reach, beams + reach, device=x.device) % beams]
    return torch.cat([x[:, beams - reach :], x, x[:, :reach]], 1)


def _correlate(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """sum_t x[b + (t - taps // 2) dilation] weight[:, t]."""
    beams, taps = x.shape[1], weight.shape[1]
    around = _around(x, taps // 2 * dilation)
    y = around[:, :beams] * weight[:, 0]
    for t in range(1, taps):
        y.addcmul_(around[:, t * dilation : t * dilation + beams], weight[:, t])
    return y


class Depthwise(nn.Module):  # type: ignore[misc]
    """A circular convolution over beams per channel: beam b reads beams b + (t - taps // 2) dilation."""

    def __init__(self, width: int, taps: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.weight = nn.Parameter(torch.randn(width, taps) / taps**0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map [A, M, width] to [A, M, width]."""
        if not torch.jit.is_scripting():
            if torch.compiler.is_compiling() and x.device.type == "cpu":  # loops are fused, gradients as well
                return _correlate(x, self.weight.to(x.dtype), self.dilation) + self.bias.to(x.dtype)
            if x.device.type == "cpu" and x.dtype == torch.float32:
                return CircularDepthwise.apply(x, self.weight, self.bias, self.dilation)
        weight = self.weight.to(x.dtype)
        taps = weight.shape[1]
        y = self.bias.to(x.dtype) + x * weight[:, taps // 2]
        for t in range(taps):
            if t != taps // 2:
                y = y + torch.roll(x, (taps // 2 - t) * self.dilation, 1) * weight[:, t]
        return y


class Block(nn.Module):  # type: ignore[misc]
    """x + mix(silu(expand(depthwise(x)))): `depthwise` mixes beams, the two dense layers mix channels."""

    def __init__(self, width: int, hidden: int, taps: int, dilation: int) -> None:
        super().__init__()
        self.depthwise = Depthwise(width, taps, dilation)
        self.expand = nn.Linear(width, hidden)
        self.mix = nn.Linear(hidden, width)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [A, M, width] to [A, M, width]."""
        return x + self.mix(F.silu(self.expand(self.depthwise(x))))


class BeamNetwork(nn.Module):  # type: ignore[misc]
    """Posterior mean and error variance of a unit-power channel's KLT coefficients in beamspace.

    Coefficient p of every beam has mean power ``eigenvalues[p]`` and is observed in complex noise of variance
    v[b]. The network adds to the population Wiener estimate a correction in units of the population Wiener
    error, so it is right in both limits of the noise whatever its weights. It is equivariant to circular
    shifts of beams. Depthwise convolutions reach further for their arithmetic than full ones: at a million
    multiplications a device they come within 0.2 dB of full convolutions at twenty times as many.

    Parameters
    ----------
    eigenvalues : (P,) tensor
        Mean power of every kept KLT coefficient per antenna.
    subcarriers : int
        N, to which the error variance is normalised.
    width, hidden, blocks : int
        Channels of the trunk, channels inside a block, number of blocks.
    taps : int
        Odd number of beams that a block's depthwise convolution reads.
    dilations : sequence of int
        Spacing of these beams, block by block, repeated cyclically.
    rows : int
        Of a panel, whose beams come with the elevation changing fastest; the network itself does not look at it.

    Notes
    -----
    With s = eigenvalues + v, u = z / sqrt(s) and the Wiener error e = eigenvalues v / s, the first layer has
    3 P + 1 inputs per beam: 1.4 Re u, 1.4 Im u, log(|u|^2 + 1e-3) / 2, log(v) / 4 with v limited to 1e-5...1e3.
    The last layer has 2 P + 1 outputs f per beam: the mean is
    z eigenvalues / s + 0.7 sqrt(e / (1 + v / 1000)) f[:2 P] and the variance is sum(e) / N exp(f[2 P]), its
    exponent limited to -12...4.

    Weights in order of evaluation, float32, C-contiguous:

    ==============================================  ================================
    ``inp.weight``, ``inp.bias``                    (width, 3 P + 1), (width,)
    ``body.I.depthwise.weight``, ``.bias``          (width, taps), (width,)
    ``body.I.expand.weight``, ``.bias``             (hidden, width), (hidden,)
    ``body.I.mix.weight``, ``.bias``                (width, hidden), (width,)
    ``out.weight``, ``out.bias``                    (2 P + 1, width), (2 P + 1,)
    ==============================================  ================================

    Tap t of block I reads beam b + (t - taps // 2) dilations[I mod len(dilations)], modulo M.
    """

    eigenvalues: Tensor
    architecture: dict[str, Any]

    def __init__(
        self,
        eigenvalues: Tensor,
        subcarriers: int,
        *,
        width: int,
        hidden: int,
        blocks: int,
        taps: int,
        dilations: Sequence[int] = (1,),
        rows: int = 1,
    ) -> None:
        super().__init__()
        p = len(eigenvalues)
        self.coefficients = p
        self.subcarriers = subcarriers
        self.architecture = {
            "width": width,
            "hidden": hidden,
            "blocks": blocks,
            "taps": taps,
            "dilations": list(dilations),
        } | ({"rows": rows} if rows > 1 else {})
        self.register_buffer("eigenvalues", eigenvalues.float().clone())
        self.inp = nn.Linear(3 * p + 1, width)
        self.body = nn.Sequential(*[Block(width, hidden, taps, dilations[i % len(dilations)]) for i in range(blocks)])
        self.out = nn.Linear(width, 2 * p + 1)
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
        x = torch.cat([1.4 * white, 0.5 * (energy + 1e-3).log(), 0.25 * level], 1).transpose(1, 2)
        f = self.out(self.body(self.inp(x))).transpose(1, 2).float()
        step = 0.7 * (error / (1 + noise / 1e3)).sqrt()
        mean = z * torch.cat([gain, gain], 1) + torch.cat([step, step], 1) * f[:, : 2 * p]
        var = error.sum(1) / self.subcarriers * f[:, 2 * p].clamp(-12.0, 4.0).exp()
        return mean, var

    @classmethod
    def of(cls, weights: BeamWeights) -> "BeamNetwork":
        """The network of these weights, whose memory it shares."""
        with plain_torch():
            with torch.device("meta"):  # allocates nothing
                network = cls(torch.empty(len(weights.eigenvalues)), weights.subcarriers, **weights.architecture)
            network.load_state_dict({name: torch.from_numpy(a) for name, a in weights.arrays.items()}, assign=True)
        return network

    def weights(self) -> BeamWeights:
        """Its weights as arrays, whose memory they share while it is on the CPU."""
        arrays = {name: value.detach().cpu().float().contiguous().numpy() for name, value in self.state_dict().items()}
        return BeamWeights(self.subcarriers, self.architecture, arrays)

    def multiplications(self, antennas: int) -> int:
        """Multiply-accumulate operations of all layers for one device."""
        return antennas * sum(int(weight.numel()) for weight in self.parameters() if weight.ndim == 2)
