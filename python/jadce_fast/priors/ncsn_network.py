"""The paper's score networks: RefineNets over subcarriers and antennas, and Tweedie's formulas (Cai IV, VI-A.2).

Their architecture is that of NCSNv2 (Song and Ermon 2020) for the first order and NCSN (Song and Ermon 2019)
for the second: the latter is told the noise level, the former's output is only divided by its amplitude.
"""

# No postponed annotations here: TorchScript could not resolve them.

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .. import _check

LOWEST_SNR, HIGHEST_SNR = -10, 30  # dB of unit-power channels, Cai VI-A.2
LEVELS = HIGHEST_SNR - LOWEST_SNR + 1  # every integer SNR


def level_weights(tau: Tensor, levels: int, lowest: float = float(LOWEST_SNR)) -> Tensor:
    """Weights (A, levels) that interpolate linearly in dB between noise levels 1 dB apart, clamped outside."""
    if levels == 1:
        return torch.ones_like(tau)[:, None]
    position = (-10 * tau.clamp(1e-30, 1e30).log10() - lowest).clamp(0.0, levels - 1.0)
    level = torch.arange(levels, device=tau.device, dtype=tau.dtype)
    return (1 - (position[:, None] - level).abs()).clamp_min(0.0)


class InstanceNorm(nn.Module):  # type: ignore[misc]
    """InstanceNorm++: normalised maps, plus what their means tell relative to each other.

    A row of `table` per noise level holds the gains of the maps, the gains of the means and the biases.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        table = 1 + 0.02 * torch.randn(levels, 3 * width)
        table[:, 2 * width :] = 0
        self.table = nn.Parameter(table)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map [A, width, N, M] and the weights [A, levels] of the noise levels to [A, width, N, M]."""
        gain, share, bias = (level @ self.table)[:, :, None, None].chunk(3, 1)
        means = x.mean((2, 3), keepdim=True)
        centred = means - means.mean(1, keepdim=True)
        relative = centred * (centred.square().mean(1, keepdim=True) + 1e-5).rsqrt()
        return torch.addcmul(gain * share * relative + bias, torch.group_norm(x, x.shape[1]), gain)


class NoNorm(nn.Module):  # type: ignore[misc]
    """Stand-in for an InstanceNorm where NCSNv2 has none."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Return `x`."""
        return x


def _norm(width: int, levels: int) -> nn.Module:
    return InstanceNorm(width, levels) if levels > 1 else NoNorm()


def _conv(inside: int, outside: int, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=dilation, dilation=dilation, bias=bias)


class Residual(nn.Module):  # type: ignore[misc]
    """Norm, ELU, convolution, twice, beside a shortcut; `halve` averages over 2 x 2 at its end."""

    def __init__(self, inside: int, outside: int, levels: int, dilation: int = 1, halve: bool = False) -> None:
        super().__init__()
        self.halve = halve
        self.norm1, self.conv1 = InstanceNorm(inside, levels), _conv(inside, outside, dilation)
        self.norm2, self.conv2 = InstanceNorm(outside, levels), _conv(outside, outside, dilation)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map [A, inside, N, M] to [A, outside, N, M], or half of N and M, rounded up."""
        y = self.conv1(F.elu(self.norm1(x, level)))
        y = self.conv2(F.elu(self.norm2(y, level)))
        if self.halve:  # averaging and the pointwise shortcut commute
            y = F.avg_pool2d(y, 2, ceil_mode=True)
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        return self.shortcut(x) + y


class Units(nn.Module):  # type: ignore[misc]
    """Residual convolution units (RCU): ELU and convolution, twice, added to the input; `count` in a row."""

    def __init__(self, width: int, levels: int, count: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_norm(width, levels) for _ in range(2 * count)])
        self.convs = nn.ModuleList([_conv(width, width, bias=False) for _ in range(2 * count)])

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map [A, width, N, M] to [A, width, N, M]."""
        y = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs)):  # noqa: B905, TorchScript knows no strict
            y = conv(F.elu(norm(y, level)))
            if i % 2 == 1:
                y = y + x
                x = y
        return x


class Pooling(nn.Module):  # type: ignore[misc]
    """Chained residual pooling (CRP): twice a 5 x 5 average and a convolution, each added to the result."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_norm(width, levels) for _ in range(2)])
        self.convs = nn.ModuleList([_conv(width, width, bias=False) for _ in range(2)])

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map [A, width, N, M] to [A, width, N, M]."""
        y = x = F.elu(x)
        for norm, conv in zip(self.norms, self.convs):  # noqa: B905
            y = conv(F.avg_pool2d(norm(y, level), 5, 1, 2))
            x = x + y
        return x


class RefineBlock(nn.Module):  # type: ignore[misc]
    """Fuse a stage's features with the coarser ones (RefineNet): units, sum at the finer size, pooling, units."""

    def __init__(self, fine: int, coarse: int, outside: int, levels: int, last: bool = False) -> None:
        super().__init__()
        self.fine_units, self.coarse_units = Units(fine, levels, 2), Units(coarse, levels, 2)
        self.fine_norm, self.coarse_norm = _norm(fine, levels), _norm(coarse, levels)
        self.fine_conv, self.coarse_conv = _conv(fine, outside), _conv(coarse, outside)
        self.pooling = Pooling(outside, levels)
        self.units = Units(outside, levels, 3 if last else 1)

    def forward(self, fine: Tensor, coarse: Tensor, level: Tensor) -> Tensor:
        """Map [A, fine, N, M] and [A, coarse, N', M'] to [A, outside, N, M]."""
        x = self.fine_conv(self.fine_norm(self.fine_units(fine, level), level))
        y = self.coarse_conv(self.coarse_norm(self.coarse_units(coarse, level), level))
        size = [x.shape[2], x.shape[3]]
        x = x + F.interpolate(y, size, mode="bilinear", align_corners=True)
        return self.units(self.pooling(x, level), level)


class DeepestBlock(nn.Module):  # type: ignore[misc]
    """The refine block of the deepest stage, which has nothing coarser to fuse."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.adapt, self.pooling, self.units = Units(width, levels, 2), Pooling(width, levels), Units(width, levels, 1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map [A, width, N, M] to [A, width, N, M]."""
        return self.units(self.pooling(self.adapt(x, level), level), level)


class RefineNet(nn.Module):  # type: ignore[misc]
    """A score of unit-power channels in white noise, fully convolutional over subcarriers and antennas.

    Four stages of two residual blocks each; the second halves the resolution, the third and fourth dilate
    instead by 2 and 4; as many refine blocks lead back.

    Parameters
    ----------
    width : int
        Maps of the first stage, at least 2; later ones have twice as many. 128 is Song and Ermon's, 30
        million weights.
    order : {1, 2}
        1 for the gradient of the log-density, as NCSNv2: unconditional. 2 for the diagonal of its Hessian, as
        NCSN: every norm has a table over `LEVELS` noise levels.

    Notes
    -----
    Of the last layer's output f, which starts from zero, the first order is f / sqrt(tau), as in NCSNv2, and the
    second -1 / (1 + tau) + f / (tau (1 + tau)): an untrained network returns its input as mean and the variance
    of the Wiener estimator. For noise above the strongest level of training the input is scaled down to that
    level's power, and the estimate z + tau S1 by the same factor once more, which is exact for CN(0, 1) channels.
    """

    def __init__(self, width: int, order: int) -> None:
        super().__init__()
        self.order = order
        self.levels = levels = LEVELS if order == 2 else 1
        self.strongest = 10 ** (-0.1 * LOWEST_SNR)
        double = 2 * width
        self.begin = _conv(2, width)
        self.stage1 = nn.ModuleList([Residual(width, width, levels) for _ in range(2)])
        self.stage2 = nn.ModuleList([Residual(width, double, levels, halve=True), Residual(double, double, levels)])
        self.stage3 = nn.ModuleList([Residual(double, double, levels, dilation=2) for _ in range(2)])
        self.stage4 = nn.ModuleList([Residual(double, double, levels, dilation=4) for _ in range(2)])
        self.refine4 = DeepestBlock(double, levels)
        self.refine3 = RefineBlock(double, double, double, levels)
        self.refine2 = RefineBlock(double, double, width, levels)
        self.refine1 = RefineBlock(width, width, width, levels, last=True)
        self.norm = InstanceNorm(width, levels)
        self.end = _conv(width, 2)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    def forward(self, x: Tensor, tau: Tensor) -> Tensor:
        """Score of noisy channels.

        Parameters
        ----------
        x : (A, 2, N, M) tensor
            Real and imaginary parts.
        tau : (A,) tensor
            Complex noise variances.

        Returns
        -------
        (A, 2, N, M) tensor
            In complex terms, as in Cai: CN(0, 1) channels have first order -x / (1 + tau), second -1 / (1 + tau).
        """
        level = level_weights(tau, self.levels)
        tau = tau[:, None, None, None]
        known, total = tau.clamp_max(self.strongest), 1 + tau
        down = ((1 + known) / total).sqrt()
        one = self.begin(x * down)
        for block in self.stage1:
            one = block(one, level)
        two = one
        for block in self.stage2:
            two = block(two, level)
        three = two
        for block in self.stage3:
            three = block(three, level)
        four = three
        for block in self.stage4:
            four = block(four, level)
        y = self.refine4(four, level)
        y = self.refine3(three, y, level)
        y = self.refine2(two, y, level)
        y = self.refine1(one, y, level)
        y = self.end(F.elu(self.norm(y, level)))
        if self.order == 2:
            return (y / tau - 1) / total
        return (y * known.sqrt() * down - x * ((tau - known) / total)) / tau


class NcsnNetwork(nn.Module):  # type: ignore[misc]
    """Posterior mean and error variance of unit-power channels by two score networks, Cai (44), (45), (55), (56).

    The networks know white noise only, as in the paper: they are told the mean over antennas of a device's noise
    variances. For coloured noise, such as a receiver's, the result is that much worse than `BeamNetwork`'s.

    Parameters
    ----------
    subcarriers : int
        N of the channels it is for. The networks run on any N and M.
    width : int
        See `RefineNet`.

    Raises
    ------
    ValueError, TypeError
        If `width` is below 2, `subcarriers` below 1, or one of them no integer.
    """

    architecture: dict[str, Any]

    def __init__(self, subcarriers: int, *, width: int) -> None:
        super().__init__()
        width = _check.integer("width", width, 2)
        self.subcarriers = _check.integer("subcarriers", subcarriers, 1)
        self.architecture = {"width": width}
        self.first = RefineNet(width, 1)
        self.second = RefineNet(width, 2)

    def forward(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Denoise.

        Parameters
        ----------
        z : (A, 2 N, M) tensor
            Noisy channels over antennas: N real parts, then N imaginary parts.
        v : (A, M) tensor
            Complex noise variance of every antenna.

        Returns
        -------
        mean : (A, 2 N, M) tensor
            Posterior mean z + tau S1(z, tau), with tau the mean of `v` over antennas.
        var : (A, M) tensor
            Posterior error variance per antenna, tau + tau^2 mean_n S2(z, tau), of one device each (an erratum
            of Cai (56)), limited to 1e-4 tau ... tau. An entry's second-order score is the mean of the
            network's two outputs for it.
        """
        tau = v.mean(1).clamp_min(1e-20)
        x = z.reshape(z.shape[0], 2, z.shape[1] // 2, z.shape[2])
        mean = z + tau[:, None, None] * self.first(x, tau).reshape_as(z)
        ratio = 1 + tau[:, None] * self.second(x, tau).mean((1, 2))
        return mean, tau[:, None] * ratio.clamp(1e-4, 1.0)

    def multiplications(self, antennas: int) -> int:
        """Multiply-accumulate operations of all convolutions of both networks for one device."""
        shapes = copy.deepcopy(self).to("meta")  # nothing is computed there
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            shapes(torch.empty(1, 2 * self.subcarriers, antennas), torch.empty(1, antennas))
        return int(counter.get_flop_counts()["Global"][torch.ops.aten.convolution]) // 2
