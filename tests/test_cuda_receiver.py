"""Receivers on a GPU against those on the CPU; without a GPU the very same kernels and graphs run on the emulator."""

import numpy as np
import pytest
import torch
from kernels import emulator, error, gpu
from problems import SIZES, WienerPrior, complex_normal, problem

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.cuda.denoisers import Script
from jadce_fast.cuda.detector import Detector
from jadce_fast.cuda.transform import CudaTransform

pytestmark = pytest.mark.usefixtures("one_thread")


class Wiener(torch.nn.Module):
    """WienerPrior.denoise in torch."""

    def __init__(self, eigenvalues, subcarriers: int):
        super().__init__()
        self.register_buffer("eigenvalues", torch.from_numpy(eigenvalues))
        self.subcarriers = subcarriers

    def forward(self, z: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gain = self.eigenvalues[:, None] / (self.eigenvalues[:, None] + v[:, None])
        return torch.cat([gain, gain], 1) * z, (gain * v[:, None]).sum(1) / self.subcarriers


class TorchWienerPrior(WienerPrior):
    def __init__(self, subcarriers, **arguments):
        super().__init__(subcarriers, **arguments)
        self.network = Wiener(self.eigenvalues, subcarriers)


def same(found, expected, tolerance=1e-3):
    """As test_receiver.py holds the CPU to the reference, with its tolerances."""
    assert found.iterations == expected.iterations
    assert found.converged == expected.converged
    assert found.overflow == expected.overflow
    for a, b in zip(found.history, expected.history, strict=True):
        assert a["error_var"] == pytest.approx(b["error_var"], rel=tolerance)
        assert a["candidates"] == b["candidates"]
    assert np.array_equal(np.asarray(found.active), expected.active)
    np.testing.assert_allclose(np.asarray(found.activity), expected.activity, atol=1e-3)
    assert found.noise_var == pytest.approx(expected.noise_var, rel=tolerance)
    assert found.channels.shape == expected.channels.shape
    if len(expected.active):
        assert error(np.asarray(found.channels), expected.channels) <= tolerance
        np.testing.assert_allclose(np.asarray(found.channel_var), expected.channel_var, rtol=2 * tolerance)


@pytest.mark.parametrize("size", [size for size in SIZES if size != "one-symbol"])
@pytest.mark.parametrize("power", [1.0, "unknown"])
@pytest.mark.parametrize("screening", [True, False])
def test_equals_the_cpu(gpu_device, size, power, screening):
    p = problem(**SIZES[size], seed=5)
    n, m = p.y.shape[1:]
    arguments = dict(power=power, threads=1, rules=jf.Rules(max_iterations=4, screening=screening))
    prior = TorchWienerPrior(n)
    expected = jf.Receiver(p.pilots, m, prior, p.activity_rate, **arguments).detect(p.y, p.noise_var)
    rx = jf.Receiver(p.pilots, m, prior, p.activity_rate, device="cuda", **arguments)
    same(rx.detect(p.y, p.noise_var), expected)


@pytest.mark.parametrize("variance", ["residual", "paper"])
@pytest.mark.parametrize("kind", ["dft", "qpsk"])
def test_gaussian_prior_to_the_end(gpu_device, variance, kind):
    """A loop on the device that ends by itself, on antennas, with pilots of either kind."""
    p = problem(**(SIZES["odd"] | dict(symbols=30, active=4)), pilots=kind, seed=2)
    arguments = dict(prior="gaussian", activity_rate=p.activity_rate, rules=jf.Rules(variance=variance), threads=1)
    expected = jf.Receiver(p.pilots, 16, **arguments).detect(p.y, p.noise_var)
    found = jf.Receiver(p.pilots, 16, device="cuda", **arguments).detect(p.y, p.noise_var)
    assert expected.iterations > 3
    same(found, expected)


@pytest.mark.parametrize(("network", "tolerance"), [("fp32", 1e-3), ("torchscript", 1e-3), ("auto", 0.02)])
def test_score_network(gpu_device, network, tolerance):
    """The same in single precision; on tensor cores, within what bfloat16's eight bits leave."""
    p = problem(devices=150, symbols=10, subcarriers=48, antennas=8, active=6, snr_db=12, seed=1)
    arguments = dict(
        prior="cdl-tiny", activity_rate=p.activity_rate, threads=1, rules=jf.Rules(max_iterations=3), capacity=24
    )
    expected = jf.Receiver(p.pilots, 8, network="fp32", **arguments).detect(p.y, p.noise_var)
    rx = jf.Receiver(p.pilots, 8, device="cuda", network=network, **arguments)
    same(rx.detect(p.y, p.noise_var), expected, tolerance)
    assert np.array_equal(expected.active, p.active)


def test_the_papers_network(gpu_device):
    p = problem(devices=40, symbols=12, subcarriers=48, antennas=4, active=3, snr_db=15, seed=1)
    arguments = dict(
        prior="ncsn-c", activity_rate=p.activity_rate, threads=1, rules=jf.Rules(max_iterations=2), capacity=6
    )
    expected = jf.Receiver(p.pilots, 4, **arguments).detect(p.y, p.noise_var)
    same(jf.Receiver(p.pilots, 4, device="cuda", **arguments).detect(p.y, p.noise_var), expected)


@pytest.mark.parametrize("devices", [105, 97, 106])
def test_other_ways_to_the_statistics(gpu_device, monkeypatch, devices):
    """Two passes where one block's shared memory does not hold K points, and products where K has a large factor."""
    monkeypatch.setattr(CudaTransform, "most_points", 64)
    p = problem(**(SIZES["odd"] | dict(devices=devices)), seed=3)
    arguments = dict(prior="gaussian", activity_rate=p.activity_rate, threads=1, rules=jf.Rules(max_iterations=3))
    expected = jf.Receiver(p.pilots, 16, **arguments).detect(p.y, p.noise_var)
    rx = jf.Receiver(p.pilots, 16, device="cuda", **arguments)
    assert rx.gpu.detector.transform.method == ("spectral_large" if devices == 105 else "direct")
    same(rx.detect(p.y, p.noise_var), expected)


@pytest.mark.parametrize(
    ("devices", "symbols", "prior", "network", "tolerance"),
    [(800, 20, "cdl", "bf16", 2**-9), (797, 80, "gaussian", "auto", 1e-4)],
)
def test_full_size(gpu_device, devices, symbols, prior, network, tolerance):
    """Sizes of a real cell: thousands of blocks, a chirp transform, more measurements than devices.

    Rounding of single precision grows with the iterations, some 1e-6 each and more where the messages subtract; of
    bfloat16, 2^-9 an operand, the products' mean remains, so that one rounding bounds it.
    """
    drop = draw_drop(Scenario(devices=devices, symbols=symbols))
    arguments = dict(prior=prior, activity_rate=0.05, power=1.0)
    single = "fp32" if prior == "cdl" else "auto"
    expected = jf.Receiver(drop.pilots, 32, network=single, **arguments).detect(drop.y, drop.noise_var)
    found = jf.Receiver(drop.pilots, 32, device="cuda", network=network, **arguments).detect(drop.y, drop.noise_var)
    assert np.array_equal(found.active, expected.active)
    assert found.iterations == expected.iterations
    assert error(found.channels, expected.channels) <= tolerance


@pytest.mark.parametrize(
    "backend", [pytest.param("emulated", marks=emulator), pytest.param("cuda", marks=gpu)], indirect=True
)
def test_a_lost_slot_leaves_nothing(gpu_device):
    """Energies of all devices are those of the residual plus S, also of a device whose slot was taken away."""
    drop = draw_drop(Scenario(devices=200, symbols=6, snr_db=0))
    detector = jf.Receiver(drop.pilots, 32, "cdl-tiny", 0.05, device="cuda").gpu.detector
    rows, basis = (
        torch.from_numpy(drop.pilots.rows).long(),
        detector.transform.tables["basis"].cpu().to(torch.complex128),
    )
    y = torch.from_numpy(drop.y)[None].to(gpu_device)
    stream = detector.device.stream()
    detector.set_input(y, drop.noise_var)
    detector.begin(stream)
    had = torch.zeros(200, dtype=torch.bool)
    for _ in range(2):
        now = {}
        for name, launch in detector.iteration().items():
            launch(stream)
            if name in (detector.transform.method, "select_candidates"):
                now[name] = {x: detector.buffers[x][0].cpu().clone() for x in ("energy", "r_b", "slot", "s")}
        seen = now[detector.transform.method]
        state = torch.zeros((200, 48, 32), dtype=torch.complex128)
        state[rows, torch.arange(48)] = seen["r_b"].to(torch.complex128)
        z = torch.einsum("np,knm->kpm", basis.conj(), torch.fft.ifft(state, dim=0, norm="forward"))
        has = seen["slot"] >= 0
        z[has] += seen["s"][seen["slot"][has].long()]
        expected, lost = z.abs().square().permute(1, 2, 0), had & ~has
        # A transform's error is that of its largest outputs: a few roundings a pass.
        for of in (~has, has | ~has):
            found, right = (x[..., of].numpy() for x in (seen["energy"], expected))
            assert error(found, right) <= 20 * np.log2(200) * np.finfo(np.float32).eps
        had = now["select_candidates"]["slot"] >= 0
    assert lost.any()


def blocks_of(count, **arguments):
    """Blocks that end after different numbers of iterations, one of them silent."""
    found = [problem(**(SIZES["odd"] | arguments), snr_db=2 + 6 * i, seed=i) for i in range(count - 1)]
    silent = problem(**(SIZES["odd"] | arguments | dict(active=0)), seed=9)
    return found[0].pilots, np.stack([p.y for p in [*found, silent]])


def test_a_batch_equals_its_blocks(gpu_device):
    """The same bits, also of a rest that does not fill the batch."""
    pilots, y = blocks_of(5)
    arguments = dict(prior="gaussian", activity_rate=0.05, power=1.0, device="cuda", capacity=16)
    one = jf.Receiver(pilots, 16, **arguments)
    expected = [one.detect(block, 0.2) for block in y]
    assert len({out.iterations for out in expected}) > 1
    found = jf.Receiver(pilots, 16, batch=3, **arguments).detect_many(y, 0.2)
    assert len(found) == 5
    for a, b in zip(found, expected, strict=True):
        assert a.history == b.history
        for name in ("activity", "active", "channels", "channel_var"):
            assert np.array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize(
    "backend", [pytest.param("emulated", marks=emulator), pytest.param("cuda", marks=gpu)], indirect=True
)
def test_many_blocks_share_thread_blocks(gpu_device):
    """Where more are received than fill a GPU, a thread block takes several of their candidates and slots."""
    pilots, rng = jf.dft_pilots(60, 6, 2), np.random.default_rng(0)
    channels = [np.repeat(complex_normal(rng, a, 1, 2), 2, 1) for a in (5, 1)]
    some = [np.einsum("tna,anm->tnm", pilots.select(rng.permutation(60)[: len(h)]), h) for h in channels]
    y = (np.stack(some) + 0.1 * complex_normal(rng, 2, 6, 2, 2)).astype(np.complex64)
    rules = jf.Rules(max_iterations=2, screening=False)  # all of 60 devices are candidates
    arguments = dict(capacity=60, device="cuda", rules=rules)
    one = jf.Receiver(pilots, 2, "gaussian", **arguments)
    expected = [one.detect(block, 0.01) for block in y]
    found = jf.Receiver(pilots, 2, "gaussian", batch=20, **arguments).detect_many(np.tile(y, (10, 1, 1, 1)), 0.01)
    for i, out in enumerate(found):
        assert out.history == expected[i % 2].history
        for name in ("activity", "active", "channels", "channel_var"):
            assert np.array_equal(getattr(out, name), getattr(expected[i % 2], name)), (i, name)


@pytest.mark.parametrize(("overlapping", "iterations"), [(True, 3), (False, 1), (False, 5)])
def test_graphs_recorded_in_other_ways(gpu_device, overlapping, iterations):
    """Iterations after a block's last one, in the same pass of the loop, change nothing."""
    pilots, y = blocks_of(3)
    rx = jf.Receiver(pilots, 16, "gaussian", 0.05, 1.0, device="cuda", batch=3)
    expected = rx.detect_many(y, 0.2)
    detector, names = rx.gpu.detector, ("history", "channels", "activity")
    assert detector.overlapping
    before = {name: detector.buffers[name].clone() for name in names}
    for name in names:
        detector.buffers[name].fill_(torch.nan)
    graph = detector.record(overlapping=overlapping, iterations=iterations)
    detector.set_input(torch.from_numpy(y).to(gpu_device), 0.2)
    graph.launch(detector.device.stream())
    assert detector.word("iteration").tolist() == [out.iterations for out in expected]
    for name in ("channels", "activity"):
        assert torch.equal(detector.buffers[name], before[name])
    for i, out in enumerate(expected):
        done = slice(out.iterations)
        assert torch.equal(detector.buffers["history"][i, done], before["history"][i, done])


@pytest.mark.parametrize("opened", ["begin", "open_loop"])
def test_a_recording_that_is_given_up(gpu_device, backend, opened):
    """Leaves nothing behind that the next one would meet."""
    graph = backend.native.Graph(overlapping=True)
    graph.begin()
    if opened == "open_loop":
        graph.open_loop()
    del graph
    p = problem(**SIZES["odd"], seed=1)
    arguments = dict(prior="gaussian", activity_rate=p.activity_rate, power=1.0)
    rx = jf.Receiver(p.pilots, 16, device="cuda", **arguments)
    same(rx.detect(p.y, p.noise_var), jf.Receiver(p.pilots, 16, **arguments).detect(p.y, p.noise_var))


def test_a_driver_that_refuses_overlapping_kernels(gpu_device, monkeypatch):
    refused = []

    def refuses(self, noise=None, *, overlapping, real=Detector.record, **others):
        if overlapping:
            refused.append(overlapping)
            raise RuntimeError("cudaGraphInstantiate: operation not supported")
        return real(self, noise, overlapping=overlapping, **others)

    monkeypatch.setattr(Detector, "record", refuses)
    p = problem(**SIZES["odd"], seed=1)
    rx = jf.Receiver(p.pilots, 16, "gaussian", p.activity_rate, 1.0, device="cuda")
    assert refused == [True]
    assert not rx.gpu.detector.overlapping
    same(
        rx.detect(p.y, p.noise_var),
        jf.Receiver(p.pilots, 16, "gaussian", p.activity_rate, 1.0).detect(p.y, p.noise_var),
    )


def test_torch_networks_run_where_there_are_candidates(gpu_device, monkeypatch):
    """And in iterations that have work to do; where torch's graphs cannot be parts of another, always."""
    monkeypatch.setattr(Script, "chunk", 4)
    p, runs = problem(**SIZES["odd"], seed=6), []
    arguments = dict(activity_rate=p.activity_rate, power=1.0, rules=jf.Rules(max_iterations=6), capacity=18)
    expected = jf.Receiver(p.pilots, 16, TorchWienerPrior(12), **arguments).detect(p.y, p.noise_var)
    real = Script.run
    monkeypatch.setattr(Script, "run", lambda self, d, first: (runs.append(first), real(self, d, first))[1])
    rx = jf.Receiver(p.pilots, 16, TorchWienerPrior(12), device="cuda", **arguments)
    planning = len(runs)
    same(rx.detect(p.y, p.noise_var), expected)
    if gpu_device.type == "cpu":  # on a GPU torch is not asked again
        used = [-(-h["candidates"] // 4) for h in expected.history]
        assert runs[planning:] == [4 * i for count in used for i in range(count)]

    # Places of several blocks share a run of the network.
    both = jf.Receiver(p.pilots, 16, TorchWienerPrior(12), device="cuda", batch=2, **arguments)
    for found in both.detect_many(np.stack([p.y, p.y]), p.noise_var):
        same(found, expected)

    def refuses(self, enqueue, pool=None):
        raise RuntimeError("not supported")

    monkeypatch.setattr(type(rx.gpu.detector.device), "child", refuses)
    rx = jf.Receiver(p.pilots, 16, TorchWienerPrior(12), device="cuda", **arguments)
    same(rx.detect(p.y, p.noise_var), expected)


def test_the_same_bits_on_every_run(backend, gpu_device):
    """Whatever the order of threads: no sum depends on it."""
    p = problem(**SIZES["odd"], seed=6)
    rx = jf.Receiver(
        p.pilots, 16, TorchWienerPrior(12), p.activity_rate, device="cuda", rules=jf.Rules(max_iterations=4)
    )
    runs = []
    for falling in (False, True):
        if hasattr(backend.native, "set_reversed"):
            backend.native.set_reversed(falling)
        runs.append(rx.detect(p.y, p.noise_var))
    assert runs[0].history == runs[1].history
    for name in ("activity", "active", "channels", "channel_var"):
        assert np.array_equal(getattr(runs[0], name), getattr(runs[1], name))


def test_a_block_without_place_for_all(gpu_device):
    """More plausible devices than there is capacity for are counted, on both machines."""
    p = problem(**SIZES["odd"], seed=1)
    arguments = dict(
        prior="gaussian", activity_rate=p.activity_rate, power=1.0, capacity=3, rules=jf.Rules(max_iterations=3)
    )
    expected = jf.Receiver(p.pilots, 16, **arguments).detect(p.y, p.noise_var)
    assert expected.overflow > 0
    same(jf.Receiver(p.pilots, 16, device="cuda", **arguments).detect(p.y, p.noise_var), expected)
    assert jf.Receiver(p.pilots, 16, "gaussian", p.activity_rate).detect(p.y, p.noise_var).overflow == 0


def test_enqueued_results(gpu_device):
    """Tensors of fixed size on the device, without waiting; the next detection overwrites them."""
    pilots, y = blocks_of(3)
    rx = jf.Receiver(pilots, 16, "gaussian", 0.05, 1.0, device="cuda", batch=3, capacity=10)
    blocks = torch.from_numpy(y).to(gpu_device)
    expected = rx.detect_many(blocks, 0.2)
    out = rx.enqueue(blocks, 0.2)
    assert out.channels.shape == (3, 10, *y.shape[2:])
    for i, one in enumerate(expected):
        count = int(out.found[i])
        assert count == len(one.active)
        assert torch.equal(out.active[i, :count], one.active)
        assert torch.all(out.active[i, count:] == -1)
        assert torch.equal(out.channels[i, :count], one.channels)
        assert torch.all(out.channels[i, count:] == 0)
        assert torch.equal(out.channel_var[i, :count], one.channel_var)
        assert torch.equal(out.activity[i], one.activity)
        assert int(out.iterations[i]) == one.iterations
        assert bool(out.converged[i]) == one.converged
    single = rx.enqueue(blocks[1], 0.2)
    assert single.channels.shape == (10, *y.shape[2:])
    assert torch.equal(single.active[: len(expected[1].active)], expected[1].active)
    for host in (y[1], y[1].tolist()):
        assert isinstance(rx.enqueue(host, 0.2).channels, torch.Tensor)
    bad = rx.enqueue(torch.full_like(blocks[0], torch.nan), 0.2)
    assert (int(bad.found), bool(bad.converged)) == (0, False)
    assert bool(torch.isfinite(torch.view_as_real(bad.channels)).all())


@pytest.mark.parametrize("prior", ["gaussian", "torch"])
def test_scrambled_pilots_as_on_the_cpu(gpu_device, prior):
    p = problem(**SIZES["plain"], seed=5)
    pilots = jf.dft_pilots(p.pilots.devices, p.pilots.symbols, p.pilots.subcarriers, scrambled=True)
    y = p.y * pilots.phases[:, :, None]
    arguments = dict(activity_rate=p.activity_rate, threads=1, rules=jf.Rules(max_iterations=3))
    kind = TorchWienerPrior(8) if prior == "torch" else prior
    expected = jf.Receiver(pilots, 8, kind, **arguments).detect(y, p.noise_var)
    same(jf.Receiver(pilots, 8, kind, device="cuda", **arguments).detect(y, p.noise_var), expected)
    assert len(expected.active)


def test_a_deadline_ends_the_loop_as_on_the_cpu(gpu_device):
    """A microsecond is over before the second iteration, a minute is not before the end."""
    p = problem(**SIZES["plain"], seed=5)
    arguments = dict(prior=TorchWienerPrior(8), activity_rate=p.activity_rate, power=1.0, threads=1)
    rx = jf.Receiver(p.pilots, 8, device="cuda", **arguments)
    for deadline, rules in [(1.0, jf.Rules(max_iterations=1)), (6e7, jf.Rules())]:
        expected = jf.Receiver(p.pilots, 8, rules=rules, **arguments).detect(p.y, p.noise_var)
        found = rx.enqueue(p.y, p.noise_var, deadline=deadline)
        assert bool(found.late) == (deadline == 1.0)
        count = int(found.found)
        assert int(found.iterations) == expected.iterations
        assert bool(found.converged) == expected.converged == (deadline > 1)
        assert np.array_equal(np.asarray(found.active)[:count], expected.active)
        assert error(np.asarray(found.channels)[:count], expected.channels) <= 1e-3
