"""libjadce, the C library: its results are Python's to the bit, and nothing that it is given makes it crash."""

import threading
import warnings

import libjadce
import numpy as np
import pytest
from libjadce import ARGUMENT, FILE, OK, UNSUPPORTED, WEIGHTS, Error, Plan, planned
from problems import complex_normal, problem

import jadce_fast as jf
from jadce_fast.detection import REASONS
from jadce_fast.parts import split
from jadce_fast.structure import shared

if not (libjadce.HOME / "lib" / "libjadce.so").exists():
    pytest.skip("the C library is not beside the module", allow_module_level=True)

TINY, LARGE = (str(WEIGHTS / f"{name}.safetensors") for name in ("cdl-tiny", "cdl-large"))
SIZES = dict(devices=150, symbols=10, subcarriers=48, antennas=9, active=6, delay_spread=0.02)


def same(found, expected):
    assert np.array_equal(found.active, expected.active)
    for name in ("activity", "channels", "channel_var"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    r = found.result
    assert (r.iterations, bool(r.converged), r.overflow) == (expected.iterations, expected.converged, expected.overflow)
    assert (r.noise_var, r.residual_ratio) == (expected.noise_var, expected.residual_ratio)
    assert (r.least, r.most) == expected.explained[1:]
    assert REASONS[r.stopped] == expected.stopped_because
    assert bool(r.trusted) == expected.trusted


# name: problem, prior, options of Python's receiver; of the library's those that have other names
CASES = {
    "tiny": (dict(seed=1), TINY, dict(power=1.0), {}),
    "unknown-power": (dict(seed=2, power_spread_db=12.0), TINY, {}, {}),
    "qpsk": (dict(seed=3, pilots="qpsk"), TINY, {}, {}),
    "cascade": (dict(seed=4), f"{TINY}+{LARGE}", dict(power=1.0), {}),
    "learned-rate": (dict(seed=5), TINY, dict(activity_rate=None), dict(activity_rate=0.0)),
    "single-precision": (dict(seed=6), TINY, dict(network="fp32"), dict(network=2)),
    "bfloat16": (dict(seed=6), TINY, dict(network="bf16"), dict(network=1)),
    "gaussian": (dict(seed=7, symbols=40, channels="iid", subcarriers=6), "gaussian", {}, {}),
    "gaussian-qpsk": (dict(seed=8, symbols=40, pilots="qpsk", subcarriers=6), "gaussian", dict(power=1.0), {}),
    "nobody": (dict(seed=9, active=0), TINY, {}, {}),
    "overflow": (dict(seed=10, active=20), TINY, dict(capacity=8), {}),
    "threshold": (dict(seed=11, snr_db=-8.0), TINY, dict(threshold=0.01), {}),
    "few-iterations": (dict(seed=12), TINY, dict(rules=jf.Rules(max_iterations=2)), dict(max_iterations=2)),
    "one-antenna": (dict(seed=13, antennas=1, symbols=30), TINY, {}, {}),
}


def python(p, prior, **options):
    """Detection by Python's receiver, of a problem."""
    options = dict(activity_rate=p.activity_rate, threads=2) | options
    return jf.Receiver(p.pilots, p.y.shape[2], prior, **options).detect(p.y, p.noise_var)


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_python_to_the_bit(name):
    sizes, prior, options, others = CASES[name]
    p = problem(**(SIZES | sizes))
    plain = {key: value for key, value in options.items() if isinstance(value, int | float)}
    plan = Plan(p.pilots, p.y.shape[2], prior, **(dict(activity_rate=p.activity_rate, threads=2) | plain | others))
    expected = python(p, prior, **options)
    for _ in range(2):  # the second one finds the first one's leavings
        same(plan.detect(p.y, p.noise_var), expected)
    plan.close()


def test_pilots_of_different_power():
    """Amplitudes and eigenvectors are one computation for both."""
    p = problem(**SIZES, seed=20)
    rng = np.random.default_rng(20)
    q = complex_normal(rng, 10, 48, 150) * rng.uniform(0.3, 3, 150)
    y = np.einsum("tnk,knm->tnm", q[:, :, p.active], p.channels) + 0.1 * complex_normal(rng, *p.y.shape)
    p = problem(**(SIZES | dict(pilots=jf.Pilots(q))), seed=20)
    for power in (0.0, 1.0):
        plan = Plan(p.pilots, 9, TINY, activity_rate=p.activity_rate, power=power)
        expected = jf.Receiver(p.pilots, 9, TINY, p.activity_rate, power or "unknown")
        same(plan.detect(y.astype(np.complex64), 0.01), expected.detect(y, 0.01))
        plan.close()


@pytest.mark.parametrize("pilots", ["dft", "any"])
def test_images_of_the_radio_are_looked_for(pilots):
    """By the channels in the caller's memory, or where there is none by the library's own."""
    rng = np.random.default_rng(24)
    q = jf.dft_pilots(150, 10, 48) if pilots == "dft" else jf.Pilots(complex_normal(rng, 10, 48, 150))
    if pilots == "any":
        array = q.select()
        array[:, :, [143, 50, 130]] = array[:, ::-1, [7, 100, 20]].conj()
        q = jf.Pilots(array)
    h = np.repeat(complex_normal(rng, 3, 1, 9), 48, 1)
    y = np.einsum("tna,anm->tnm", q.select([7, 20, 100]), h) + 0.1 * complex_normal(rng, 10, 48, 9)
    plan, rx = Plan(q, 9, TINY), jf.Receiver(q, 9, TINY)
    for gain, trusted in ((0.2, False), (0.0, True)):
        seen = (y + gain * (y if pilots == "dft" else y[:, ::-1]).conj()).astype(np.complex64)
        expected = rx.detect(seen, 0.01)
        assert expected.trusted == trusted == ("mirror images" not in expected.reason)
        same(plan.detect(seen, 0.01), expected)
        assert bool(plan.numbers(seen, 0.01).trusted) == trusted
    plan.close()


def pairs(array):
    return np.stack([array.real, array.imag], -1)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)], ids=["symbol", "subcarrier", "antenna"])
@pytest.mark.parametrize("kind", ["complex64", "int16", "bfloat16"])
def test_layouts_and_formats(order, kind):
    p = problem(**SIZES, seed=21)
    plan = Plan(p.pilots, 9, TINY)
    turned = np.ascontiguousarray(p.y.transpose(order))
    strides = np.array(turned.strides)[np.argsort(order)] // turned.itemsize
    scale = 0.0
    if kind == "complex64":
        data, seen = turned, turned
    elif kind == "int16":
        scale = float(np.float32(np.abs(pairs(turned)).max() / 2000))
        data = np.round(pairs(turned) / scale).astype(np.int16)
        seen = data.astype(np.float32) * np.float32(scale)
        seen = seen.view(np.complex64)[..., 0]
    else:
        bits = np.ascontiguousarray(pairs(turned)).view(np.uint32)
        data = (bits >> 16).astype(np.uint16)
        seen = (data.astype(np.uint32) << 16).view(np.float32).view(np.complex64)[..., 0]
    y = np.ascontiguousarray(seen.transpose(np.argsort(order)))
    expected = jf.Receiver(p.pilots, 9, TINY).detect(y, p.noise_var)
    same(plan.detect(np.ascontiguousarray(data), p.noise_var, kind, scale, strides.tolist()), expected)
    plan.close()


def test_every_second_antenna():
    p = problem(**SIZES, seed=22)
    wide = np.zeros((10, 48, 20), np.complex64)
    wide[:, :, 1:19:2] = p.y
    plan = Plan(p.pilots, 9, TINY)
    found = plan.detect(wide[:, :, 1:], p.noise_var, strides=[48 * 20, 20, 2])
    same(found, jf.Receiver(p.pilots, 9, TINY).detect(p.y, p.noise_var))
    plan.close()


def structured():
    """Pilots by what is special about them."""
    rng = np.random.default_rng(23)
    plain = complex_normal(rng, 8, 6, 40)
    rows = np.stack([rng.permutation(40)[:8] for _ in range(6)], 1)
    twice, silent, gap, comb = (plain.copy() for _ in range(4))
    twice[:, :, 17] = 2j * twice[:, :, 30]
    silent[:, :, 3] = 0
    gap[:, 2] = 0
    comb[:, ::2, ::2], comb[:, 1::2, 1::2] = 0, 0
    scrambling = np.exp(2j * np.pi * rng.random((8, 6, 1)))
    return {
        "plain": plain,
        "rows": jf.Pilots.from_rows(rows, 40),
        "even-rows": jf.Pilots.from_rows(2 * (rows % 20)[:1], 40),
        "one-row-for-all": jf.Pilots.from_rows(np.tile(rows[:, :1], 6), 40),
        "twice": twice,
        "silent": silent,
        "gap": gap,
        "comb": comb,
        "repeated": plain[:, :1] * scrambling,
        "repeated-in-pairs": np.repeat(complex_normal(rng, 8, 1, 40), 4, 1),
        "repeated-on-four": np.repeat(complex_normal(rng, 8, 3, 40), 4, 1),
        "one-subcarrier": plain[:, :1],
        "one-device": plain[:1, :, :1],
    }


@pytest.mark.parametrize("name", structured())
def test_what_python_plans_otherwise_is_refused(name):
    pilots = structured()[name]
    pilots = pilots if isinstance(pilots, jf.Pilots) else jf.Pilots(pilots)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            otherwise = shared(pilots) is not None or bool(split(pilots, jf.Receiver(pilots, 2, "gaussian").prior))
        except ValueError:
            otherwise = True
    status, words = planned(pilots, "gaussian")
    assert status == (UNSUPPORTED if otherwise else OK)
    assert words.startswith("pilots: expected" if otherwise else "")


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (dict(devices=0), ARGUMENT, "devices: expected 1 to 16777216, found 0"),
        (dict(symbols=200), ARGUMENT, "symbols: expected 1 to 150, found 200"),
        (dict(antennas=5000), ARGUMENT, "antennas"),
        (dict(activity_rate=1.0), ARGUMENT, "activity_rate"),
        (dict(activity_rate=float("nan")), ARGUMENT, "activity_rate"),
        (dict(power=-1.0), ARGUMENT, "power"),
        (dict(pilot_power=0.0), ARGUMENT, "pilot_power"),
        (dict(threshold=1.5), ARGUMENT, "threshold"),
        (dict(threads=-1), ARGUMENT, "threads"),
        (dict(capacity=-1), ARGUMENT, "capacity"),
        (dict(network=3), ARGUMENT, "network"),
        (dict(prior=None), ARGUMENT, "prior: expected"),
        (dict(pilot_rows=None), ARGUMENT, "pilots: expected pilot_rows or pilots, found none"),
        (dict(prior=b"nowhere.safetensors"), FILE, "no such file"),
        (dict(prior=f"{TINY}+".encode()), FILE, "no such file"),
        (dict(prior=b"/"), FILE, "no such file"),
        (dict(prior=b"auto"), UNSUPPORTED, "prior"),
        (dict(prior=b"beams"), UNSUPPORTED, "prior"),
        (dict(prior=str(WEIGHTS / "ncsn-c.safetensors").encode()), UNSUPPORTED, "no native kernel"),
        (dict(prior=str(WEIGHTS / "cell-network.safetensors").encode()), UNSUPPORTED, "no native kernel"),
        (dict(prior=str(WEIGHTS / "cdl-tiny.md").encode()), FILE, "damaged"),
        (dict(prior=f"{TINY}+{WEIGHTS / 'cdl-wide.safetensors'}".encode()), FILE, "one basis"),
    ],
)
def test_bad_configurations_are_named(options, status, words):
    pilots = jf.dft_pilots(150, 10, 48)
    with pytest.raises(Error, match=words.replace("+", r"\+")) as error:
        Plan(pilots, 4, TINY, **options)
    assert error.value.status == status


def test_rows_are_checked():
    for rows, words in (([[3, 5], [3, 7]], "distinct"), ([[0, 90], [1, 2]], "0 to 8")):
        pilots = jf.dft_pilots(9, 2, 2)
        pilots.rows = np.array(rows)
        with pytest.raises(Error, match=words) as error:
            Plan(pilots, 4, "gaussian")
        assert error.value.status == ARGUMENT


def test_a_prior_of_other_subcarriers():
    with pytest.raises(Error, match="expected one for 12 subcarriers like the pilots, found 48"):
        Plan(jf.dft_pilots(150, 10, 12), 4, TINY)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_blocks_that_are_not_finite(bad):
    p = problem(**SIZES)
    plan = Plan(p.pilots, 9, TINY)
    y = p.y.copy()
    y[3, 7, 5] = bad
    with pytest.raises(Error, match="block: expected finite numbers"):
        plan.detect(y, p.noise_var)
    for noise in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(Error, match="noise_var"):
            plan.detect(p.y, noise)
    same(plan.detect(p.y, p.noise_var), jf.Receiver(p.pilots, 9, TINY).detect(p.y, p.noise_var))
    plan.close()


def test_one_plan_serves_several_threads():
    p = problem(**SIZES, seed=24)
    plan, found = Plan(p.pilots, 9, TINY, threads=2), []

    def work():
        found.extend(plan.detect(p.y, p.noise_var) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 15
    for one in found[1:]:
        assert np.array_equal(one.channels, found[0].channels)
    plan.close()


def test_errors_have_words():
    lib = libjadce.library()
    words = [lib.jadce_error_string(status).decode() for status in range(-1, 8)]
    assert len(set(words[1:8])) == 7
    assert words[0] == words[8]
    assert lib.jadce_version().decode() == jf.__version__
