"""What clocks and radios do to a block is found in it and taken out, and a block that does not fit stays one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import jadce_fast as jf
from jadce_fast.campaigns.mismatch import shuffle
from jadce_fast.campaigns.ofdm_drop import Drop, Scenario, draw_drop
from jadce_fast.channels import synthesize
from jadce_fast.metrics import score

POINT = Scenario(devices=150, symbols=12, antennas=16, activity_rate=0.08)
PRIOR = "cdl-tiny"
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def drop() -> Drop:
    pilots = jf.dft_pilots(POINT.devices, POINT.symbols, POINT.subcarriers, scrambled=True)
    return draw_drop(POINT, 3, 0, pilots)


def receiver(drop: Drop, **options: Any) -> jf.Receiver:
    return jf.Receiver(drop.pilots, POINT.antennas, PRIOR, threads=1, **options)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def noise(*shape: int) -> Array:
    return rng().standard_normal((*shape, 2)).view(complex)[..., 0] * np.sqrt(0.5)


def sent(drop: Drop, channels: Array) -> Array:
    """What channels (T, A, N, M) over time make of the active devices' pilots, in the same noise."""
    x = drop.pilots.select(drop.active)
    still = np.einsum("tna,anm->tnm", x, drop.channels)
    return drop.y - still + np.einsum("tna,tanm->tnm", x, channels)


def over_time(drop: Drop) -> Array:
    return np.repeat(drop.channels[None].astype(complex), POINT.symbols, axis=0)


def carriers(drop: Drop) -> tuple[Array, Array]:
    """Carriers off by up to 0.02 cycles a symbol, a quarter of a turn in the block."""
    cycles = rng().uniform(-0.02, 0.02, len(drop.active)) * (np.arange(POINT.symbols)[:, None] - 5.5)
    h = over_time(drop) * np.exp(2j * np.pi * cycles)[:, :, None, None]
    return sent(drop, h), h.mean(0)


def oscillator(drop: Drop) -> tuple[Array, Array]:
    """Phase noise that all devices share, eight degrees a symbol."""
    phase = np.cumsum(rng().normal(0, np.deg2rad(8), POINT.symbols))
    h = over_time(drop) * np.exp(1j * phase)[:, None, None, None]
    return sent(drop, h), h.mean(0)


def delays(drop: Drop) -> tuple[Array, Array]:
    """Devices early and late by up to a microsecond."""
    when = 30e3 * 1e-6 * rng().uniform(-1, 1, len(drop.active))
    h = drop.channels * np.exp(-2j * np.pi * np.outer(when, np.arange(POINT.subcarriers)))[:, :, None]
    return sent(drop, np.repeat(h[None], POINT.symbols, axis=0)), h


def moving(drop: Drop) -> tuple[Array, Array]:
    """Every ray turns at a speed of its own, by up to 0.006 cycles a symbol."""
    paths = drop.paths
    doppler = 0.006 * np.cos(2 * np.pi * rng().random(paths.phase.shape))
    still = synthesize(paths, *drop.channels.shape[1:])
    size = np.sqrt(np.sum(np.abs(drop.channels) ** 2, (1, 2)) / np.sum(np.abs(still) ** 2, (1, 2)))
    turned = [
        synthesize(replace(paths, phase=paths.phase + 2 * np.pi * doppler * (t - 5.5)), *drop.channels.shape[1:])
        for t in range(POINT.symbols)
    ]
    h = np.stack(turned) * size[:, None, None]
    return sent(drop, h), h.mean(0)


def images(drop: Drop) -> tuple[Array, Array]:
    """Of mirrored subcarriers, 18 dB weaker, with a phase of each antenna."""
    gain = 10 ** (-18 / 20) * np.exp(2j * np.pi * rng().random(POINT.antennas))
    return drop.y + gain * drop.y[:, ::-1].conj(), drop.channels


def offset(drop: Drop) -> tuple[Array, Array]:
    """Of every antenna, on all subcarriers."""
    return drop.y + 0.5 * noise(POINT.antennas), drop.channels


def constant(drop: Drop) -> tuple[Array, Array]:
    """Of every antenna, on the subcarrier of DC alone."""
    y = drop.y.copy()
    y[:, 24] += 5 * noise(POINT.antennas)
    return y, drop.channels


def antenna(drop: Drop) -> tuple[Array, Array]:
    """One with 20 dB more noise."""
    y = drop.y.copy()
    y[:, :, 5] += 10 * np.sqrt(drop.noise_var) * noise(*y.shape[:2])
    return y, drop.channels


KINDS = [carriers, oscillator, delays, moving, images, offset, constant, antenna]


@pytest.mark.parametrize("impair", KINDS)
def test_block_is_as_good_as_if_radios_were_perfect(drop: Drop, impair: Callable[[Drop], tuple[Array, Array]]) -> None:
    y, true = impair(drop)
    y = y.astype(np.complex64)
    perfect = receiver(drop).detect(drop.y, drop.noise_var)
    plain = receiver(drop).detect(y, drop.noise_var)
    out = receiver(drop, compensate=True).detect(y, drop.noise_var)
    best = score(perfect, drop.active, drop.channels)
    before, after = score(plain, drop.active, true), score(out, drop.active, true)
    assert (after.missed, after.false_alarms) == (best.missed, best.false_alarms) == (0, 0)
    assert out.trusted
    # Slopes are as many unknowns again as channels; an antenna of noise is a 16th of them that cannot be seen.
    assert after.nmse_db < best.nmse_db + {antenna: 6.0, moving: 5.0}.get(impair, 1.0)
    assert after.nmse_db < before.nmse_db - 2
    assert out.activity.shape == plain.activity.shape
    assert np.isfinite(out.channels).all()
    # The variances are those of errors: within a factor of three in the mean.
    error = np.mean(np.abs(out.channels - true) ** 2)
    assert 1 / 3 < error / out.channel_var.mean() < 3


def test_block_of_perfect_radios_keeps_its_result(drop: Drop) -> None:
    plain = receiver(drop).detect(drop.y, drop.noise_var)
    out = receiver(drop, compensate=True).detect(drop.y, drop.noise_var)
    np.testing.assert_array_equal(out.active, plain.active)
    one, other = (score(o, drop.active, drop.channels).nmse_db for o in (plain, out))
    assert other < one + 0.3
    assert out.trusted


@pytest.mark.parametrize("change", [lambda y: shuffle(y, 1.0), lambda y: np.roll(y, 1, axis=0)])
def test_what_does_not_fit_is_not_explained_away(drop: Drop, change: Callable[[Array], Array]) -> None:
    out = receiver(drop, compensate=True).detect(change(drop.y).astype(np.complex64), drop.noise_var)
    assert not out.trusted


def test_noise_that_is_told_wrongly_is_still_seen(drop: Drop) -> None:
    for factor in (0.2, 10.0):
        assert not receiver(drop, compensate=True).detect(drop.y, factor * drop.noise_var).trusted


def test_images_of_pilots_that_have_them_are_named() -> None:
    pilots = jf.dft_pilots(POINT.devices, POINT.symbols, POINT.subcarriers)
    drop = draw_drop(POINT, 3, 0, pilots)
    y = (drop.y + 0.1 * drop.y.conj()).astype(np.complex64)
    out = receiver(drop, compensate=True).detect(y, drop.noise_var)
    assert len(out.active) == len(drop.active) or out.reason.startswith("images of the radio")


@pytest.mark.parametrize("active", [0, 1, 2])
@pytest.mark.parametrize(("symbols", "antennas"), [(1, 1), (2, 3), (5, 1)])
def test_few_symbols_antennas_and_devices(active: int, symbols: int, antennas: int) -> None:
    pilots = jf.dft_pilots(7, symbols, 48, seed=1)
    h = noise(active, antennas)[:, None, :] * np.ones((1, 48, 1))
    q = pilots.select(np.arange(active))
    y = np.einsum("tna,anm->tnm", q, h) + 0.05 * noise(symbols, 48, antennas)
    rx = jf.Receiver(pilots, antennas, PRIOR, threads=1, compensate=True)
    for noise_var in (0.0025, None):
        out = rx.detect(y.astype(np.complex64), noise_var)
        assert np.isfinite(out.channels).all()
        assert np.isfinite(out.activity).all()
        assert (np.diff(out.active) > 0).all()


def test_symbols_without_anything_are_no_division_by_zero(drop: Drop) -> None:
    y = drop.y * (np.arange(POINT.symbols) < 6)[:, None, None]
    out = receiver(drop, compensate=True).detect(y.astype(np.complex64), drop.noise_var)
    assert np.isfinite(out.channels).all()


def test_where_nothing_is_compensated_it_is_refused(drop: Drop) -> None:
    with pytest.raises(TypeError, match="compensate: expected True or False, found 1"):
        receiver(drop, compensate=1)
    with pytest.raises(ValueError, match="compensate: expected False for a stream"):
        receiver(drop, compensate=True).stream(0.1)
    comb = drop.pilots.select() * (np.arange(48) % 2 == 0)[None, :, None]
    with pytest.raises(ValueError, match="compensate: expected False for pilots that leave subcarriers out"):
        jf.Receiver(comb, POINT.antennas, PRIOR, compensate=True)
