"""Joint activity detection and channel estimation in links of Sionna 2 (``pip install jadce-fast[sim]``).

A :class:`GrantFreePattern` puts the pilots of all devices on the same resource elements, a :class:`GrantFreeEstimator`
is a channel estimator that finds out who is there, and a :class:`DetectedEqualizer` equalises those.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from sionna.phy import Block
from sionna.phy.mimo import StreamManagement
from sionna.phy.ofdm import BaseChannelEstimator, LMMSEEqualizer, PilotPattern, RemoveNulledSubcarriers, ResourceGrid

from . import _check
from .detection import Detection
from .pilots import Pilots

__all__ = ["DetectedEqualizer", "GrantFreeEstimator", "GrantFreePattern"]

_SILENT = 1e12  # effective noise variance of a device that was not found: its bits are worth nothing


class GrantFreePattern(PilotPattern):  # type: ignore[misc]
    """Pilots of many devices, one stream each, that overlap on the first symbols of a resource grid.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
        Of all devices, over all effective subcarriers.
    num_ofdm_symbols : int
        T and the symbols of data that follow.
    precision, device : str, optional
        As for Sionna's blocks.

    Attributes
    ----------
    grant_free : Pilots

    Raises
    ------
    ValueError, TypeError
        If there are fewer symbols than those of the pilots.
    """

    def __init__(
        self, pilots: Any, num_ofdm_symbols: int, *, precision: str | None = None, device: str | None = None
    ) -> None:
        grant_free = pilots if isinstance(pilots, Pilots) else Pilots(pilots)
        symbols, k, n = grant_free.symbols, grant_free.devices, grant_free.subcarriers
        all_symbols = _check.integer("num_ofdm_symbols", num_ofdm_symbols, symbols)
        mask = torch.zeros(all_symbols, n, dtype=torch.int32)
        mask[:symbols] = 1
        values = np.moveaxis(grant_free.select(), 2, 0).reshape(k, 1, symbols * n)
        super().__init__(
            mask.expand(k, 1, -1, -1),
            torch.from_numpy(np.ascontiguousarray(values)),
            precision=precision,
            device=device,
        )
        self.grant_free = grant_free


class GrantFreeEstimator(BaseChannelEstimator):  # type: ignore[misc]
    """Channels of the devices that are found active, zeros for the others.

    Parameters
    ----------
    resource_grid : sionna.phy.ofdm.ResourceGrid
        With a :class:`GrantFreePattern`, and a transmitter of one stream a device.
    receiver : jadce_fast.Receiver, or a baseline
        Planned for the pattern's pilots and the antennas of a base station. It may be exchanged between calls
        (`receiver`).
    precision, device : str, optional
        As for Sionna's blocks.

    Attributes
    ----------
    detections : list of list of jadce_fast.Detection
        Of the last call, by batch and base station.

    Raises
    ------
    ValueError, TypeError
        If the grid has another pattern, or the receiver is planned for other sizes.

    Notes
    -----
    ``call(y, no)`` takes y [batch, num_rx, num_rx_ant, num_ofdm_symbols, fft_size] and no [batch, num_rx, num_rx_ant]
    or its first dimensions, and returns ``(h_hat, err_var)`` of Sionna's shape [batch, num_rx, num_rx_ant, K, 1,
    num_ofdm_symbols, num_effective_subcarriers]. Channels do not change within a grid, so that both are views that
    repeat one symbol's. `err_var` is the posterior variance of the devices that were found, and zero for the others.
    Detection is in single precision; nothing is differentiable.
    """

    def __init__(
        self, resource_grid: ResourceGrid, receiver: Any, *, precision: str | None = None, device: str | None = None
    ) -> None:
        super().__init__(resource_grid, precision=precision, device=device)
        pattern = resource_grid.pilot_pattern
        if not isinstance(pattern, GrantFreePattern):
            raise TypeError(f"resource_grid: expected a GrantFreePattern, found {type(pattern).__name__}")
        found, wanted = receiver.pilots, pattern.grant_free
        if found is not wanted and found != wanted:
            raise ValueError("receiver: expected one of the pilots of the pattern, found one of others")
        self._symbols, self._all_symbols = wanted.symbols, pattern.num_ofdm_symbols
        self.receiver = receiver
        self.detections: list[list[Detection]] = []

    def call(self, y: torch.Tensor, no: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Detect and estimate, as the class says."""
        pilots = self._remove_nulled_scs(y)[..., : self._symbols, :]
        batch, stations, antennas = pilots.shape[:3]
        blocks = pilots.permute(0, 1, 3, 4, 2).to(torch.complex64).contiguous()  # [B, rx, T, N, M]
        noise = no[(...,) + (None,) * (3 - no.dim())].expand(batch, stations, antennas)
        if not blocks.is_cuda:  # arrays that share the tensor's memory
            blocks = blocks.numpy()
        shape = (batch, stations, antennas, self.receiver.pilots.devices, 1, 1, pilots.shape[-1])
        h = torch.zeros(shape, dtype=self.cdtype, device=self.device)
        var = torch.zeros(shape, dtype=self.dtype, device=self.device)
        self.detections = [[self.receiver.detect(blocks[b, r], _noise(noise[b, r])) for r in range(stations)]
                           for b in range(batch)]  # fmt: skip
        for b, r in np.ndindex(batch, stations):
            found = self.detections[b][r]
            active = torch.as_tensor(found.active, device=self.device)
            channels = torch.as_tensor(found.channels, device=self.device)  # (A, N, M)
            h[b, r, :, active, 0, 0] = channels.permute(2, 0, 1).to(self.cdtype)
            errors = torch.as_tensor(found.channel_var, device=self.device).to(self.dtype)
            var[b, r, :, active] = errors[:, None, None, None]
        return (h.expand(*shape[:5], self._all_symbols, -1), var.expand(*shape[:5], self._all_symbols, -1))


def _noise(no: torch.Tensor) -> Any:
    """Noise variance of the antennas of a base station, one number if it is the same for all."""
    return float(no[0]) if bool((no == no[0]).all()) else no.cpu().numpy()


class DetectedEqualizer(Block):  # type: ignore[misc]
    """LMMSE equalisation of the devices that were found.

    Sionna's equaliser returns NaN for a transmitter whose channel is zero. This block hands it, batch by batch, those
    whose channel is not; for the others symbols are zero, with an effective noise variance of 1e12.

    Parameters
    ----------
    resource_grid : sionna.phy.ofdm.ResourceGrid
        With a :class:`GrantFreePattern`.
    precision, device : str, optional
        As for Sionna's blocks.

    Notes
    -----
    ``call(y, h_hat, err_var, no)`` is that of :class:`sionna.phy.ofdm.LMMSEEqualizer` for one base station, and
    returns ``x_hat, no_eff`` of shape [batch, K, 1, num_data_symbols].
    """

    def __init__(self, resource_grid: ResourceGrid, *, precision: str | None = None, device: str | None = None) -> None:
        super().__init__(precision=precision, device=device)
        if not isinstance(resource_grid.pilot_pattern, GrantFreePattern):
            found = type(resource_grid.pilot_pattern).__name__
            raise TypeError(f"resource_grid: expected a GrantFreePattern, found {found}")
        self._grid = resource_grid
        self._remove_nulled = RemoveNulledSubcarriers(resource_grid, precision=self.precision, device=self.device)
        self._of = functools.lru_cache(maxsize=64)(self._plan)

    def _plan(self, count: int) -> LMMSEEqualizer:
        """The equaliser of that many devices: data lie on the same resource elements whoever sends them."""
        pattern = self._grid.pilot_pattern
        symbols = pattern.num_ofdm_symbols - pattern.grant_free.symbols
        empty = torch.zeros(count, 1, symbols, pattern.num_effective_subcarriers, dtype=torch.int32)
        none = torch.zeros(count, 1, 0, dtype=torch.complex64)
        grid = ResourceGrid(
            num_ofdm_symbols=symbols,
            fft_size=pattern.num_effective_subcarriers,
            subcarrier_spacing=self._grid.subcarrier_spacing,
            num_tx=count,
            pilot_pattern=PilotPattern(empty, none, precision=self.precision, device=self.device),
            precision=self.precision,
            device=self.device,
        )
        streams = StreamManagement(np.ones((1, count)), 1)
        return LMMSEEqualizer(grid, streams, precision=self.precision, device=self.device)

    def call(
        self, y: torch.Tensor, h_hat: torch.Tensor, err_var: torch.Tensor, no: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Equalise, as the class says."""
        if y.shape[1] != 1:
            raise ValueError(f"y: expected one base station, found {y.shape[1]}")
        first = self._grid.pilot_pattern.grant_free.symbols
        data = self._remove_nulled(y)[..., first:, :]
        shape = (h_hat.shape[0], h_hat.shape[3], 1, data.shape[-1] * data.shape[-2])
        x_hat = torch.zeros(shape, dtype=self.cdtype, device=self.device)
        no_eff = torch.full(shape, _SILENT, dtype=self.dtype, device=self.device)
        err_var = torch.as_tensor(err_var, dtype=self.dtype, device=self.device).expand(h_hat.shape)
        for b in range(shape[0]):
            one = slice(b, b + 1)
            active = torch.nonzero((h_hat[b, 0, :, :, 0, first] != 0).any(-1).any(0))[:, 0]
            if not len(active):
                continue
            equalizer = self._of(len(active))
            x, noise = equalizer(
                data[one],
                h_hat[one, :, :, active][..., first:, :],
                err_var[one, :, :, active][..., first:, :],
                no[one] if no.dim() else no,
            )
            x_hat[b, active], no_eff[b, active] = x[0], noise[0]
        return x_hat, no_eff
