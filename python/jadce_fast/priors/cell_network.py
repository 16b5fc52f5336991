"""The score network of Tang et al. for a cell's channel matrix: RefineNet blocks, told the noise of every column."""

# No postponed annotations here: TorchScript could not resolve them.

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .. import _check

LEAST_NOISE, MOST_NOISE = 1e-7, 1e4  # complex variances of training, in units of the mean power of X's entries
LEAST_ANTENNAS, MOST_ANTENNAS = 4, 128  # range of training
_HIDDEN = 64  # maps of the pooled layers, which cost an M-th of the others
_FLOOR = 1e-3  # least energy of an entry, in units of the noise


class Block(nn.Module):  # type: ignore[misc]
    """The basic block, Tang Fig. 3: down-sampling and up-sampling convolutions, ReLU, and what the average tells.

    Antennas are halved and doubled, devices are not: neighbours in that axis are strangers to each other.
    """

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        padding = (1, reach // 2)
        self.down = nn.Conv2d(width, width, (3, reach), stride=(2, 1), padding=padding)
        self.up = nn.Conv2d(width, width, (3, reach), padding=padding)
        self.expand = nn.Conv2d(width, _HIDDEN, 1)
        self.mix = nn.Conv2d(_HIDDEN, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [A, width, M, N] to [A, width, M, N]."""
        coarse = self.up(torch.relu(self.down(x)))
        coarse = F.interpolate(coarse, size=[x.shape[2], x.shape[3]], mode="nearest")
        pooled = self.mix(torch.relu(self.expand(x.mean(2, keepdim=True))))
        return torch.relu(x + coarse + pooled)


class CellNetwork(nn.Module):  # type: ignore[misc]
    """Score of noisy channel matrices X + U, fully convolutional over antennas and devices (Tang 3, Fig. 3).

    Parameters
    ----------
    width : int
        Maps.
    blocks : int
        D of the paper, basic blocks in a row.
    reach : int
        Devices that a convolution spans, odd. 1 treats columns one by one, 3 is a square kernel.

    Raises
    ------
    ValueError, TypeError
        If an argument is no integer or out of range.

    Notes
    -----
    Channels enter as two maps, real and imaginary part, in units of the noise, u = x / sqrt(v). The convolutions see
    the logarithm of |u|^2, 90 dB of which are of interest, beside log v and log M; so that a turn of a column's phase
    turns its score. Average pooling over antennas comes last: of the pooled maps a dense layer makes three numbers a
    column, a, b, c, and the posterior mean x + v score is x times

        sigmoid(M a + b) sigmoid(c + mean log |u|^2)

    the second factor being near 1 - v / |x|^2 where the column is far above the noise. Log-odds of independent
    antennas add up, hence M a. Noise outside the range of training is clamped inside the network; above it, the mean
    is scaled as that of CN(0, 1) entries.
    """

    architecture: dict[str, Any]

    def __init__(self, *, width: int = 16, blocks: int = 4, reach: int = 1) -> None:
        super().__init__()
        width, blocks = _check.integer("width", width, 1), _check.integer("blocks", blocks, 1)
        reach = _check.integer("reach", reach, 1)
        if reach % 2 == 0:
            raise ValueError(f"reach: expected an odd number of devices, found {reach}")
        self.subcarriers = 1
        self.least, self.most, self.floor = LEAST_NOISE, MOST_NOISE, _FLOOR  # TorchScript reads no globals
        self.architecture = {"width": width, "blocks": blocks, "reach": reach}
        self.begin = nn.Conv2d(3, width, (3, reach), padding=(1, reach // 2))
        self.body = nn.ModuleList([Block(width, reach) for _ in range(blocks)])
        self.expand = nn.Conv2d(width, _HIDDEN, 1)
        self.end = nn.Conv2d(_HIDDEN, 3, 1)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        """Posterior mean by Tweedie's formula, x + v score.

        Parameters
        ----------
        x : (A, 2, M, N) tensor
            Real and imaginary parts of noisy matrices, whose noiseless entries have mean power one.
        v : (A, N) tensor
            Complex noise variance per entry of every column, positive.

        Returns
        -------
        (A, 2, M, N) tensor
        """
        antennas = x.shape[2]
        noise = v[:, None, None, :]
        known = noise.clamp(self.least, self.most)
        energy = ((x * noise.rsqrt()).square().sum(1, keepdim=True) + self.floor).log()
        level = (0.15 * known.log()).expand_as(energy)
        size = torch.full_like(energy, 0.5 * math.log(antennas) - 1.4)
        y = torch.relu(self.begin(torch.cat([0.25 * energy, level, size], 1)))
        for block in self.body:
            y = block(y)
        y = self.end(torch.relu(self.expand(y.mean(2, keepdim=True))))
        active = torch.sigmoid(antennas * y[:, 0:1] + y[:, 1:2])
        wiener = torch.sigmoid(y[:, 2:3] + energy.mean(2, keepdim=True))
        return x * (active * wiener * ((1 + known) / (1 + noise)))

    def score(self, x: Tensor, v: Tensor) -> Tensor:
        """Score d log p / d X* (so that CN(0, v) has -x / v); arguments as for :meth:`forward`."""
        return (self.forward(x, v) - x) / v[:, None, None, :]

    def multiplications(self, antennas: int) -> int:
        """Multiply-accumulate operations of all convolutions for one device."""
        shapes = copy.deepcopy(self).to("meta")  # nothing is computed there
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            shapes(torch.empty(1, 2, antennas, 1), torch.empty(1, 1))
        return int(counter.get_flop_counts()["Global"][torch.ops.aten.convolution]) // 2
