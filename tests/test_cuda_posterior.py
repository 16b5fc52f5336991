"""The CUDA kernels of the messages between the modules, for batches of blocks of which one has nothing to do."""

import numpy as np
import pytest
from kernels import EPS, Fields, Out, control, error, read_word, run, sizes
from problems import complex_normal

SHAPES = [(8, 12, 8, 6, 7), (1, 13, 8, 1, 3), (9, 10, 1, 4, 1), (7, 3, 33, 5, 20)]  # N, T, M, P, candidates


def controls(backend, run_of_ended=0, **words):
    """A Control of three blocks in the middle of a loop, of which the second has ended."""
    usual = dict(going=[1, 0, 1], run=[1, run_of_ended, 1], test=[1, 1, 1], iteration=[0, 0, 0], settled=[0, 0, 0])
    real = dict(noise=[0.3, 0.3, 0.3], received=[5.0, 5.0, 5.0], best=[np.inf] * 3, previous=[np.inf] * 3)
    return backend.put(control(backend, **(usual | real | words)))


def module_a(backend, words, *, power, gram, r_pri, r, v_a, devices, uniform=False, **rules):
    rules = backend.native.Rules(**rules)
    batch, t, n, m = r.shape
    return run(
        backend,
        "module_a",
        control=words,
        power=power,
        gram=gram,
        r_pri=r_pri,
        r=r,
        mean_gram=float(gram.mean(dtype=float)),
        uniform=uniform,
        rules=rules,
        sizes=sizes(devices=devices, subcarriers=n, symbols=t, antennas=m, batch=batch),
        v_a=Out((batch, m), start=v_a),
        eta=Out((batch, m)),
        v_b=Out((batch, m)),
        r_b=Out(r.shape, np.complex64),
        history=Out((batch, rules.max_iterations, 2)),
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("iteration", [0, 3])
@pytest.mark.parametrize("predicted", [True, False])
def test_module_a(backend, shape, uniform, iteration, predicted):
    """Variances of module A's message, measured or (from the second iteration on) predicted, and the message."""
    n, t, m, _, _ = shape
    rng = np.random.default_rng(0)
    k, noise, received = 64, np.float32(0.3), np.float32(5.0)
    gram = np.full((n, t), 64.0, np.float32) if uniform else rng.uniform(1, 100, (n, t)).astype(np.float32)
    power = (t * rng.uniform(0, 9, (3, n, m))).astype(np.float32)
    power[:, :, 0] = 0.1 * t * noise  # less than the noise
    start = rng.uniform(0.01, 1, (3, m)).astype(np.float32)
    r, r_pri = (complex_normal(rng, 3, t, n, m).astype(np.complex64) for _ in range(2))
    words = controls(backend, run_of_ended=1, iteration=[iteration] * 3)  # as its last iteration left it
    found = module_a(
        backend,
        words,
        power=power,
        gram=gram,
        r_pri=r_pri,
        r=r,
        v_a=start,
        devices=k,
        uniform=uniform,
        predicted=predicted,
    )
    v_a, eta, v_b = found.v_a, found.eta, found.v_b
    measure = iteration == 0 or not predicted
    mean_gram = float(gram.mean(dtype=float))
    floor = max(1e-3 * noise, 1e-6 * received) / mean_gram
    for i in (0, 2):
        v = np.maximum((power[i].sum(0, dtype=float) / (n * t) - noise) / mean_gram, floor) if measure else start[i]
        np.testing.assert_allclose(v_a[i], v, rtol=16 * EPS)  # the difference to the noise is at least a third
        gain = v_a[i].astype(float)[:, None, None] * gram
        expected = (gain / (gain + noise)).sum((1, 2)) / (n * k)
        np.testing.assert_allclose(eta[i], expected, rtol=4 * EPS)
        expected = np.maximum(v_a[i] * (1 / eta[i].astype(float) - 1), floor if measure else 1e-9 * floor)
        np.testing.assert_allclose(v_b[i], expected, rtol=1e-5)  # 1 / eta - 1 of a rounded eta of some tenths
        weight = v_a[i] / ((v_a[i] * gram.T[:, :, None].astype(float) + noise) * eta[i])
        assert error(found.r_b[i], weight * r[i] + r_pri[i]) <= 8 * EPS
        mean = read_word(backend, words, "error")[i]
        assert mean == pytest.approx(v_b[i].astype(float).mean(), rel=float(2 * EPS))
        assert found.history[i, iteration, 0] == mean
    assert np.array_equal(v_a[1], start[1])
    assert np.isnan(found.r_b[1]).all()
    assert np.isnan(found.history[1]).all()
    for name in ("run", "test"):
        assert read_word(backend, words, name).tolist() == [1, 0, 1]


def plan(backend, errors, *, settled=0, sought=1.0, **rules):
    """What module_a() decides in a row of iterations whose error variances are (nearly) `errors`."""
    gram, r = np.ones((1, 1), np.float32), np.ones((1, 1, 1, 1), np.complex64)
    state = dict(best=[np.inf], previous=[np.inf], going=[1], settled=[settled], noise=[1e-9], received=[1.0])
    state |= dict(sought=[sought], faintest=[1.0])
    found = []
    for iteration, value in enumerate(errors):
        words = backend.put(control(backend, iteration=[iteration], **state))
        # One measurement and hardly any noise: v is the power, and v_b is v (K - 1).
        power = np.full((1, 1, 1), value, np.float32)
        v_a = np.ones((1, 1), np.float32)
        module_a(backend, words, power=power, gram=gram, r_pri=r, r=r, v_a=v_a, devices=1001, **rules)
        found.append({name: int(read_word(backend, words, name)[0]) for name in ("run", "test", "keep", "last")})
        found[-1]["gamma"] = float(read_word(backend, words, "gamma")[0])
        found[-1]["converged"] = int(read_word(backend, words, "converged")[0])
        for name in ("best", "previous"):
            state[name] = [float(read_word(backend, words, name)[0])]
    return found


def test_what_an_iteration_does(backend):
    """Keeps the best, damps from the third on, ends when the error falls by less than 3 % or rounds are up."""
    rounds = plan(backend, [1, 0.5, 0.2, 0.1, 0.099, 0.05])
    assert [x["keep"] for x in rounds] == [1, 1, 1, 1, 1, 1]
    assert [x["gamma"] for x in rounds] == pytest.approx([1, 1, 0.7, 0.7, 0.7, 0.7])
    assert [x["last"] for x in rounds] == [0, 0, 0, 0, 1, 0]
    assert rounds[4]["converged"] == 1
    assert [x["test"] for x in rounds] == [1] * 6
    rounds = plan(backend, [1, 3, 0.5])
    assert [x["keep"] for x in rounds] == [1, 0, 1]
    assert [x["last"] for x in rounds] == [0, 1, 0]
    assert rounds[1]["converged"] == 0  # far above the best
    rounds = plan(backend, [1, 0.9, 0.1], max_iterations=3)
    assert [x["last"] for x in rounds] == [0, 0, 1]
    assert rounds[2]["converged"] == 0  # still falling
    # A settled activity is tested again while the error falls fast, or if there is no screening.
    assert [x["test"] for x in plan(backend, [1, 0.3, 0.2], settled=1)] == [1, 1, 0]
    assert [x["test"] for x in plan(backend, [1, 0.3, 0.2], settled=1, screening=0)] == [1, 1, 1]
    # Certain candidates of one test are tested again when the error falls slowly, or if weaker ones are to be expected.
    assert [x["test"] for x in plan(backend, [1, 0.3, 0.2], settled=2)] == [0, 0, 1]
    assert [x["test"] for x in plan(backend, [1, 0.3, 0.2], settled=2, sought=1.1)] == [1, 1, 1]
    # Where nobody is in doubt and the power is known one test is enough.
    assert [x["test"] for x in plan(backend, [1, 0.3, 0.2], settled=3)] == [0, 0, 0]
    assert plan(backend, [1, np.nan])[1]["run"] == 0


class Update:
    """A random state before update(), and what must become of it in double precision."""

    def __init__(self, shape, seed=3):
        _, self.t, self.m, self.p, self.count = shape
        rng = np.random.default_rng(seed)
        c, m, p, t = self.count, self.m, self.p, self.t
        self.k, self.slots, self.capacity = 5000, c + 3, c + 2
        self.mean = complex_normal(rng, 3, self.capacity, p, m).astype(np.complex64)
        self.posterior, self.power = (rng.uniform(0.5, 1, (3, self.capacity)).astype(np.float32) for _ in range(2))
        self.var = rng.uniform(0, 1, (3, self.capacity, m)).astype(np.float32)
        self.v_b = rng.uniform(0.001, 0.01, (3, m)).astype(np.float32)
        self.v_b[:, 0] = 1e-7  # wants a larger extrinsic ratio than is allowed
        self.v_a = rng.uniform(0.1, 1, (3, m)).astype(np.float32)
        self.device = np.tile(np.arange(self.capacity, dtype=np.int32), (3, 1))
        self.all_posterior = rng.uniform(0, 1, (3, self.k)).astype(np.float32)
        self.r_b, self.r_pri = (complex_normal(rng, 3, t, m).astype(np.complex64) for _ in range(2))
        # The first `count` slots are candidates', two are candidates no more, the last is free.
        self.support = np.tile(np.append(np.arange(c + 2), -1), (3, 1)).astype(np.int32)
        self.place = np.tile(np.append(np.arange(c), [-1, -1, -1]), (3, 1)).astype(np.int32)
        self.s = complex_normal(rng, 3, self.slots, p, m).astype(np.complex64)
        self.s[:, c + 1] *= 1e-4  # and one of them is negligible
        self.s[:, -1] = 0
        self.slot = np.tile(np.arange(self.k, dtype=np.int32), (3, 1))

    def __call__(self, backend, words, **rules):
        c, k, m, p = self.capacity, self.k, self.m, self.p
        return run(
            backend,
            "update",
            control=words,
            candidates=Fields(
                "Candidates",
                posterior=self.posterior,
                power=self.power,
                mean=self.mean,
                var=self.var,
                device=self.device,
            ),
            v_b=self.v_b,
            posterior=self.all_posterior,
            r_b=self.r_b,
            place=self.place,
            rules=backend.native.Rules(**rules),
            capacity=c,
            slots=self.slots,
            sizes=sizes(devices=k, symbols=self.t, antennas=m, coefficients=p, batch=3),
            v_a=Out((3, m), start=self.v_a),
            slot=Out((3, k), np.int32, self.slot),
            support=Out((3, self.slots), np.int32, self.support),
            s=Out(self.s.shape, np.complex64, self.s),
            r_pri=Out(self.r_pri.shape, np.complex64, self.r_pri),
            kept=Fields(
                "KeptOutput",
                device=Out((3, c), np.int32),
                posterior=Out((3, c)),
                var=Out((3, c)),
                mean=Out((3, c, p, m), np.complex64),
            ),
            activity=Out((3, k)),
            history=Out((3, 24, 2)),
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("gamma", [1.0, 0.7])
@pytest.mark.parametrize("predicted", [True, False])
def test_update(backend, shape, prune, gamma, predicted):
    u = Update(shape)
    count = u.count
    words = controls(
        backend, candidates=[count, count, 0], iteration=[4, 4, 4], gamma=[gamma] * 3, error=[0.1] * 3, keep=[1, 1, 0]
    )
    found = u(backend, words, predicted=int(predicted), screening=int(prune))
    for i, used in ((0, count), (2, 0)):
        total = np.einsum("a,a,ab->b", *(x[i, :used].astype(float) for x in (u.posterior, u.power, u.var)))
        alpha = np.clip(1.3 * total / (u.v_b[i].astype(float) * u.k), 1e-9, 0.95)
        a, b = 1 / (1 - alpha), alpha / (1 - alpha)
        # 1 - alpha is at least a twentieth, so a rounding of alpha counts twenty times.
        weight = u.posterior[i] * np.sqrt(u.power[i].astype(float))
        s = (1 - gamma - gamma * b) * u.s[i]
        for slot, candidate in enumerate(u.place[i]):
            if candidate >= 0:
                s[slot] += gamma * a * weight[candidate] * u.mean[i, candidate]
        s[-1] = 0
        gone = [slot for slot in range(u.slots - 1) if prune and (abs(s[slot]) ** 2).mean() <= 1e-4 * 0.1]
        s[gone] = 0
        assert (count + 1 in gone) == prune
        assert error(found.s[i], s) <= 32 * EPS
        assert np.array_equal(found.support[i], np.where(np.isin(np.arange(u.slots), gone), -1, u.support[i]))
        assert np.array_equal(found.slot[i], np.where(np.isin(np.arange(u.k), gone), -1, u.slot[i]))
        assert error(found.r_pri[i], (1 - gamma) * u.r_pri[i] - gamma * b * u.r_b[i]) <= 32 * EPS
        expected = gamma * u.v_b[i] * b + (1 - gamma) * u.v_a[i] if predicted else u.v_a[i]
        np.testing.assert_allclose(found.v_a[i], expected, rtol=32 * EPS)
        assert found.history[i, 3, 1] == used
    # The first block keeps its output, the third does not.
    assert np.array_equal(found.device[0, :count], u.device[0, :count])
    assert np.array_equal(found.posterior[0, :count], u.posterior[0, :count])
    var = u.var[0].mean(1, dtype=float) * u.power[0]
    np.testing.assert_allclose(found.var[0, :count], var[:count], rtol=8 * EPS)
    kept = np.sqrt(u.power[0, :count, None, None].astype(float)) * u.mean[0, :count]
    assert error(found.mean[0, :count], kept) <= 4 * EPS
    assert np.array_equal(found.activity[0], u.all_posterior[0])
    assert read_word(backend, words, "kept")[0] == count
    for kept in (found.posterior, found.mean, found.activity):
        assert np.isnan(kept[1:]).all()
    # The second has ended.
    for name in ("v_a", "slot", "support", "s", "r_pri"):
        assert np.array_equal(getattr(found, name)[1], getattr(u, name)[1])


def test_the_first_update_does_not_read_the_old_state(backend):
    """Undamped, what R held is no part of the message, not even if it is no number."""
    u = Update(SHAPES[0])
    u.r_pri[:] = np.nan
    words = controls(
        backend, candidates=[7, 7, 7], iteration=[1, 1, 1], gamma=[1.0] * 3, error=[0.1] * 3, keep=[0, 0, 0]
    )
    assert np.isfinite(u(backend, words).r_pri[[0, 2]]).all()
