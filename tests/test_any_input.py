"""Whatever a caller hands over is taken, or refused by an error that names the argument."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import hostile
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from problems import WienerPrior, problem

import jadce_fast as jf

P = problem(devices=20, symbols=4, subcarriers=6, antennas=3, active=2, seed=1)
PLANS = {"any": P.pilots.select(), "rows": P.pilots, "scrambled": jf.dft_pilots(20, 4, 6, scrambled=True)}
WIENER = WienerPrior(6)


@contextlib.contextmanager
def refused(*names: str) -> Iterator[None]:
    """Nothing but the documented errors, and these name one of the arguments."""
    error = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "pilots:", UserWarning)  # devices that share one
            yield
    except (TypeError, ValueError, FileNotFoundError) as found:
        error = found
    assert error is None or any(name in str(error) for name in names), f"{error!r} names none of {names}"


def sane(out: jf.Detection, devices: int) -> None:
    """Nothing that is not finite, and probabilities are some."""
    assert out.activity.shape == (devices,)
    assert ((out.activity >= 0) & (out.activity <= 1)).all()
    assert np.isfinite(out.channels).all()
    assert np.isfinite(out.channel_var).all()
    assert (out.channel_var >= 0).all()
    assert np.isfinite(out.noise_var)
    assert np.isfinite(out.explained).all()
    assert (np.diff(out.active) > 0).all()


RECEIVER = ("pilots", "antennas", "prior", "activity_rate", "power", "device", "threads", "rules", "threshold")


@given(st.sampled_from([*RECEIVER, "capacity", "batch", "network"]), hostile.ANYTHING)
def test_receivers(name, value):
    with refused(name):
        rx = jf.Receiver(**(dict(pilots=P.pilots, antennas=3, prior=WIENER, threads=1) | {name: value}))
        if rx.antennas == 3 and (rx.pilots.symbols, rx.pilots.subcarriers) == (4, 6):
            sane(rx.detect(P.y, P.noise_var), rx.pilots.devices)


@given(
    st.sampled_from("pilots antennas prior power sampler chains levels steps step decay beta average seed".split()),
    hostile.ANYTHING,
)
def test_langevin_receivers(name, value):
    arguments = dict(pilots=np.exp(1j * np.arange(15.0)).reshape(3, 5), antennas=2, levels=2, steps=1, chains=2)
    assume(not (name in ("antennas", "chains", "levels", "steps", "average") and isinstance(value, int) and value > 9))
    with refused(name):
        rx = jf.LangevinReceiver(**(arguments | {"threads": 1, name: value}))
        if rx.antennas == 2 and len(rx.pilots) == 3:
            sane(rx.detect(np.ones((3, 2)), 0.5), rx.pilots.shape[1])


@given(st.sampled_from(list(PLANS)), hostile.ANYTHING, hostile.ANYTHING)
def test_blocks_and_noise_of_any_kind(plan, y, noise):
    rx = jf.Receiver(PLANS[plan], 3, WIENER, threads=1)
    with refused("y"):
        rx.detect(y, 0.1)
    with refused("noise_var"):
        sane(rx.detect(P.y, noise), 20)
    with refused("ys", "y:"):
        rx.detect_many(y, 0.1)


@given(
    st.sampled_from(list(PLANS)),
    st.sampled_from([kind for kind in hostile.KINDS if kind != "O"]).flatmap(lambda k: hostile.filled((4, 6, 3), k)),
    st.integers(0, 4),
    st.one_of(st.none(), hostile.NUMBERS, st.floats(1e-30, 1e30)),
    st.sampled_from(["unknown", 1.0]),
)
def test_blocks_of_any_numbers(plan, y, layout, noise, power):
    rx = jf.Receiver(PLANS[plan], 3, WIENER, power=power, activity_rate=None, threads=1)
    with refused("y:", "noise_var"):
        sane(rx.detect(hostile.laid_out(y, layout), noise), 20)


@given(
    st.sampled_from(list(PLANS)),
    st.floats(-18, 18),
    st.floats(-30, 30),
    st.floats(-30, 30),
    st.sampled_from(["unknown", "known"]),
)
def test_blocks_of_any_scale(plan, amplitude, noise, power, knows):
    rx = jf.Receiver(PLANS[plan], 3, WIENER, power=10**power if knows == "known" else knows, threads=1)
    with refused("y:", "noise_var", "power"):
        sane(rx.detect(10**amplitude * P.y.astype(complex), 10**noise), 20)


@given(hostile.ANYTHING, hostile.ANYTHING, hostile.ANYTHING)
def test_pilots(array, number, phases):
    with refused("pilots"):
        jf.Pilots(array)
    for name in ("devices", "symbols", "subcarriers", "seed", "power"):
        assume(not (isinstance(number, int) and 100 < number < 2**24))
        with refused(name, "T <= K"):
            jf.dft_pilots(**(dict(devices=5, symbols=2, subcarriers=3) | {name: number}))
    with refused("pilot_rows", "T <= K"):
        jf.Pilots.from_rows(array, 5)
    rows = np.array([[0, 1], [2, 3]])
    with refused("devices", "pilot_rows", "T <= K"):
        jf.Pilots.from_rows(rows, number)
    with refused("power"):
        jf.Pilots.from_rows(rows, 5, number)
    with refused("pilot_phases"):
        jf.Pilots.from_rows(rows, 5, phases=phases)
    with refused("devices"):
        P.pilots.select(array)


@given(st.sampled_from([f for f in jf.Rules.__dataclass_fields__]), hostile.ANYTHING)
def test_rules(name, value):
    assume(not (name == "max_iterations" and isinstance(value, int) and value > 100))
    with refused(name):
        rules = jf.Rules(**{name: value})
        sane(jf.Receiver(P.pilots, 3, WIENER, rules=rules, threads=1).detect(P.y, P.noise_var), 20)


ATTRIBUTES = ("subcarriers", "basis", "eigenvalues", "beam_gain", "beam_weight", "beamspace", "closed_form")


@given(st.sampled_from(ATTRIBUTES), hostile.ANYTHING)
def test_priors(name, value):
    prior = WienerPrior(6)
    setattr(prior, name, value)
    with refused("prior"):
        sane(jf.Receiver(P.pilots, 3, prior, threads=1).detect(P.y, P.noise_var), 20)


@given(hostile.ANYTHING, hostile.ANYTHING)
def test_priors_that_answer_anything(mean, var):
    prior = WienerPrior(6)
    prior.denoise = lambda z, noise_var, devices: (mean, var)
    with refused("prior"):
        sane(jf.Receiver(P.pilots, 3, prior, threads=1).detect(P.y, P.noise_var), 20)
    prior.denoise = lambda z, noise_var, devices: mean
    with refused("prior"):
        sane(jf.Receiver(P.pilots, 3, prior, threads=1).detect(P.y, P.noise_var), 20)


@given(hostile.NUMBERS, hostile.NUMBERS)
def test_priors_that_answer_any_numbers(mean, var):
    prior = WienerPrior(6)
    prior.denoise = lambda z, noise_var, devices: (np.full(z.shape, mean), np.full(noise_var.shape, var))
    with refused("prior"):
        sane(jf.Receiver(P.pilots, 3, prior, threads=1).detect(P.y, P.noise_var), 20)


CAPTURE = dict(y=P.y, pilots=P.pilots, noise_var=0.1, activity_rate=0.1, true_active=P.active, true_channels=P.channels)


@given(st.sampled_from(list(CAPTURE)), hostile.ANYTHING)
def test_captures(name, value):
    with refused(name):
        block = jf.Capture(**(CAPTURE | {name: value}))
        assert block == jf.Capture(**(CAPTURE | {name: value}))


@given(hostile.ANYTHING, hostile.ANYTHING)
def test_scores(active, channels):
    out = jf.Receiver(P.pilots, 3, WIENER, threads=1).detect(P.y, P.noise_var)
    with refused("true_active", "true_channels"):
        jf.metrics.score(out, active, P.channels)
    with refused("true_channels"):
        jf.metrics.score(out, P.active, channels)


@given(st.sampled_from(["noise_var", "deadline", "wait"]), hostile.ANYTHING, hostile.ANYTHING)
def test_streams(name, value, symbols):
    rx = jf.Receiver(P.pilots, 3, WIENER, threads=1)
    with refused(name):
        rx.stream(**({"noise_var": 0.1} | {name: value}))
    with refused("symbols", "y"):
        rx.stream(0.1).push(symbols)


@pytest.mark.parametrize("name", ["covariance", "gmmv_amp", "linear", "mmv_amp", "somp", "tmp_em"])
@given(value=hostile.ANYTHING)
def test_baselines(name, value):
    plan = getattr(jf.baselines, name)
    rx = plan(P.pilots, 3)
    with refused("y"):
        sane(rx.detect(value, 0.1), 20)
    with refused("noise_var"):
        sane(rx.detect(P.y, value), 20)
    with refused("antennas"):
        plan(P.pilots, value)
    with refused("pilots"):
        plan(value, 3)
