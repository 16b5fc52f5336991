"""Kernels against the double-precision reference, on awkward sizes and every instruction set of this processor."""

import numpy as np
import pytest
from problems import SIZES, complex_normal, qpsk_pilots

from jadce_fast import Pilots, _core, dft_pilots, ops, reference

EPS = np.finfo(np.float32).eps


def error(found, expected):
    """Relative error in the Euclidean norm."""
    scale = np.linalg.norm(expected)
    return np.linalg.norm(found - expected) / scale if scale else np.linalg.norm(found)


def tolerance(naive, expected):
    """Twice the error of the same computation written plainly in single precision, at least four roundings."""
    return max(2 * error(naive, expected), 4 * EPS)


def draw(size, kind, isa, kept=None, merge=1):
    p = SIZES[size]
    make = dft_pilots if kind == "dft" else qpsk_pilots
    pilots = make(p["devices"], p["symbols"], p["subcarriers"])
    rng = np.random.default_rng(3)
    n, t, m = p["subcarriers"], p["symbols"], p["antennas"]
    basis = np.linalg.qr(complex_normal(rng, n, n))[0][:, : kept or max(1, n - 2)].astype(np.complex64)
    plan = ops.Transform(pilots, m, basis, threads=2, merge=merge, isa=isa)
    return plan, pilots, basis, complex_normal(rng, t, n, m).astype(np.complex64)


def rotated_pilots(plan, pilots):
    """The pilots that the plan works with, (T, N, K)."""
    q = pilots.select()
    return q if plan.rotation is None else np.einsum("nst,tnk->snk", plan.rotation, q)


@pytest.fixture(params=_core.variants())
def isa(request):
    return request.param


@pytest.fixture(params=["dft", "qpsk"])
def kind(request):
    return request.param


@pytest.mark.parametrize("size", SIZES)
def test_matched_filter(size, kind, isa):
    plan, pilots, basis, r = draw(size, kind, isa)
    q = rotated_pilots(plan, pilots)
    expected = reference.klt_statistics(q.astype(complex), r, basis)
    naive = np.einsum("np,knm->kpm", basis.conj(), np.einsum("tnk,tnm->knm", q.conj(), r))
    out = np.full(expected.shape, np.nan, np.complex64)
    found = ops.matched_filter(plan, r, out)
    assert found is out
    assert error(found, expected) <= tolerance(naive, expected)
    energy = ops.energies(plan, r, np.full(expected.shape, np.nan, np.float32))
    assert error(energy, abs(expected) ** 2) <= 2 * tolerance(naive, expected)  # squaring doubles a relative error


@pytest.mark.parametrize("devices", [1, 2, 7, 30, 31, 37, 64, 74, 360, 797, 1021, 3000])
def test_matched_filter_of_every_length(devices, isa):
    """Radices 2, 3, 4, 5, larger primes inside one pass, and the chirp transform beyond them."""
    rng = np.random.default_rng(devices)
    symbols = min(devices, 3)
    pilots = dft_pilots(devices, symbols, 2, power=2.5)
    basis = np.eye(2, dtype=np.complex64)
    r = complex_normal(rng, symbols, 2, 3).astype(np.complex64)
    expected = reference.adjoint(pilots.select().astype(complex), r)
    found = ops.matched_filter(ops.Transform(pilots, 3, basis, isa=isa), r)
    # Rounding of an FFT grows with the square root of the number of passes; the chirp takes two transforms.
    assert error(found, expected) <= 8 * EPS


@pytest.mark.parametrize("size", SIZES)
def test_merged_energies(size, kind, isa):
    plan, pilots, basis, r = draw(size, kind, isa, merge=3)
    z = reference.klt_statistics(rotated_pilots(plan, pilots).astype(complex), r, basis)
    groups = np.arange(basis.shape[1]) // 3
    expected = np.stack([(abs(z[:, groups == g]) ** 2).sum(1) for g in range(plan.groups)], 1)
    assert error(ops.energies(plan, r), expected) <= 16 * EPS


@pytest.mark.parametrize("size", SIZES)
def test_gather_is_rows_of_the_matched_filter(size, kind, isa):
    plan, _, _, r = draw(size, kind, isa)
    devices = np.random.default_rng(0).permutation(plan.pilots.devices)[:5]
    everything = ops.matched_filter(plan, r)
    assert error(ops.gather(plan, r, devices), everything[devices]) <= 8 * EPS
    assert ops.gather(plan, r, np.zeros(0, np.int64)).shape == (0, *everything.shape[1:])


@pytest.mark.parametrize("size", SIZES)
def test_project(size, kind, isa):
    plan, pilots, basis, _ = draw(size, kind, isa)
    rng = np.random.default_rng(1)
    devices = rng.permutation(pilots.devices)[:4]
    s = complex_normal(rng, len(devices), plan.coefficients, plan.antennas).astype(np.complex64)
    q = rotated_pilots(plan, pilots)
    expected = reference.project(q.astype(complex), devices, s, basis)
    naive = np.einsum("tnk,knm->tnm", q[:, :, devices], np.einsum("np,kpm->knm", basis, s))
    out = np.full(expected.shape, np.nan, np.complex64)
    assert error(ops.project(plan, devices, s, out), expected) <= tolerance(naive, expected)


@pytest.mark.parametrize("size", SIZES)
def test_adjointness(size, kind, isa):
    """<Q V s, r> = <s, V^H Q^H r>."""
    plan, pilots, _, r = draw(size, kind, isa)
    rng = np.random.default_rng(2)
    s = complex_normal(rng, pilots.devices, plan.coefficients, plan.antennas).astype(np.complex64)
    left = np.vdot(ops.project(plan, np.arange(pilots.devices), s).astype(complex), r)
    right = np.vdot(s.astype(complex), ops.matched_filter(plan, r))
    assert abs(left - right) <= 16 * EPS * np.linalg.norm(s) * np.linalg.norm(ops.matched_filter(plan, r))


@pytest.mark.parametrize("antennas", [1, 2, 5, 16, 31, 32, 33])
def test_beamspace(antennas, isa):
    y = complex_normal(np.random.default_rng(0), 3, 2, antennas).astype(np.complex64)
    plan = ops.Transform(dft_pilots(8, 3, 2), antennas, np.eye(2), isa=isa)
    expected = reference.beamspace(y)
    assert error(ops.beamspace(plan, y), expected) <= 16 * EPS


def test_threads_do_not_change_a_bit(kind):
    plan, pilots, basis, r = draw("odd", kind, None)
    single = ops.Transform(pilots, plan.antennas, basis, threads=1)
    assert np.array_equal(ops.matched_filter(plan, r), ops.matched_filter(single, r))
    assert np.array_equal(ops.energies(plan, r), ops.energies(single, r))


@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 5, 3), (800, 12, 32), (20, 1, 17)])
@pytest.mark.parametrize("powers", [(1.0,), (0.05, 0.3, 1.0, 4.0)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_activity_llr(shape, powers, scale, isa):
    """Exponents from nearly nothing to tens of thousands, where a ratio of densities would overflow."""
    rng = np.random.default_rng(4)
    devices, coefficients, beams = shape
    eigenvalues = np.sort(rng.exponential(size=coefficients))[::-1].astype(np.float32)
    gain = np.array([0.003, 0.1, 1, 8], np.float32)
    weight = np.array([0.4, 0.3, 0.2, 0.1], np.float32)
    share = np.full(len(powers), 1 / len(powers), np.float32)
    null = rng.uniform(0.5, 2, (coefficients, beams)).astype(np.float32)
    energy = (scale * rng.exponential(size=shape)).astype(np.float32)
    expected = reference.structured_llr(energy, null, eigenvalues, gain, weight, powers, share)
    plan = ops.activity_plan(eigenvalues, gain, weight, powers, share)
    found = ops.activity_llr(plan, energy, null, np.full(devices, np.nan, np.float32), threads=2, isa=isa)
    # Each beam's exponent is a sum of `coefficients` terms rounded in single precision, then beams are added.
    terms = (energy / null).sum((1, 2)) + coefficients * beams
    assert np.all(abs(found - expected) <= 16 * EPS * terms)


def test_activity_llr_with_merged_coefficients(isa):
    rng = np.random.default_rng(5)
    energy = rng.exponential(size=(30, 6, 4)).astype(np.float32)
    null = np.full((6, 4), 0.7, np.float32)
    arguments = ([2.0, 0.5], [0.5, 0.5], [0.3, 1.0], [0.5, 0.5])
    single = ops.activity_plan(np.full(6, 0.9), *arguments)
    merged = ops.activity_plan(np.full(2, 0.9), *arguments, [3, 3])
    expected = ops.activity_llr(single, energy, null, isa=isa)
    found = ops.activity_llr(merged, energy.reshape(30, 2, 3, 4).sum(2), null[:2], isa=isa)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, r: ops.matched_filter(p, r[:2]), r"r: expected shape \(12, 8, 8\), found \(2, 8, 8\)"),
        (lambda p, r: ops.matched_filter(p, r * np.nan), "r: expected finite numbers, found 768 NaN"),
        (lambda p, r: ops.matched_filter(p, r, np.empty(3)), "out: expected a complex64 array of shape"),
        (lambda p, r: ops.gather(p, r, [0, 64]), "devices: expected 0 to 63, found 0 to 64"),
        (
            lambda p, r: ops.project(p, [3, 1, 3], np.ones((3, 6, 8))),
            "devices: expected distinct devices, found one twice",
        ),
        (lambda p, r: ops.project(p, [0], np.ones((1, 2, 3))), r"coefficients: expected shape \(1, 6, 8\)"),
        (lambda p, r: ops.Transform(p.pilots, 8, np.ones((3, 2))), r"basis: expected shape \(8, P\)"),
        (lambda p, r: ops.Transform(p.pilots, 0, p.basis), "antennas: expected 1 to 4096, found 0"),
        (lambda p, r: ops.Transform(p.pilots, 8, p.basis, isa="mmx"), "does not run 'mmx'"),
        (lambda p, r: ops.Transform(p.pilots, 8, p.basis, threads=0), "threads: expected 1 to 1024, found 0"),
    ],
)
def test_errors(call, message):
    plan, _, _, r = draw("plain", "dft", None)
    with pytest.raises(ValueError, match=message):
        call(plan, r)


def test_wrong_types_and_devices():
    plan, _, _, r = draw("plain", "dft", None)
    with pytest.raises(TypeError, match="r: expected complex64, found dtype <U1"):
        ops.matched_filter(plan, np.full(r.shape, "x"))
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="r: expected an array on the CPU, found one on meta"):
        ops.matched_filter(plan, torch.empty(r.shape, device="meta"))
    with pytest.raises(TypeError, match="r: expected an array without gradients"):
        ops.matched_filter(plan, torch.zeros(r.shape, requires_grad=True))


def test_strange_layouts_are_read_correctly():
    plan, _, _, r = draw("plain", "dft", None)
    expected = ops.matched_filter(plan, r)
    swapped = r.astype(r.dtype.newbyteorder(">"))
    strided = np.asfortranarray(np.repeat(r, 2, axis=2))[:, :, ::2]
    for layout in (swapped, strided, r.astype(np.complex128)):
        assert np.array_equal(ops.matched_filter(plan, layout), expected)


def test_pilot_plan_of_zero_power_measurements():
    """A subcarrier without pilots has zero eigenvalues; nothing is divided by them."""
    q = np.random.default_rng(0).standard_normal((2, 3, 9)) + 0j
    q[:, 1] = 0
    plan = ops.Transform(Pilots(q), 2, np.eye(3))
    assert np.all(plan.gram[1] == 0)
    assert np.isfinite(ops.matched_filter(plan, np.ones((2, 3, 2)))).all()
