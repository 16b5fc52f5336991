"""Campaigns on a GPU take whole batches; without a GPU the same kernels run on the emulator."""

import pytest
from kernels import emulator, gpu

import jadce_fast as jf
from jadce_fast.campaigns import Scenario, simulate

on_a_gpu = pytest.mark.parametrize(
    "backend", [pytest.param("emulated", marks=emulator), pytest.param("cuda", marks=gpu)], indirect=True
)
pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Scenario(devices=16, symbols=5, subcarriers=3, antennas=2, activity_rate=0.12, snr_db=15)
NAMES = ("gaussian", "mmv-amp")  # a baseline stays on the CPU


@pytest.fixture
def batches(monkeypatch):
    """Numbers of blocks that receivers were given at once."""
    sizes = []
    plain = jf.Receiver.detect_many

    def counted(self, ys, noise_var=None):
        sizes.append(len(ys))
        return plain(self, ys, noise_var)

    monkeypatch.setattr(jf.Receiver, "detect_many", counted)
    return sizes


def scores(records, name="gaussian"):
    return [(r.trial, r.score) for r in records if r.prior == name]


@on_a_gpu
def test_a_campaign_gives_the_gpu_whole_batches(gpu_device, batches):
    seen = []

    def look(done, records):
        seen.append(done)

    together = simulate(SMALL, NAMES, 5, threads=1, device="cuda", batch=2, progress=look)
    assert batches[-2:] == [2, 2]  # and one alone; the first is repeated if it is quick, so that its time is true
    assert set(batches) == {2}
    assert seen == list(range(1, 6))
    single = simulate(SMALL, NAMES, 5, threads=1, device="cuda")
    assert [(r.prior, r.trial, r.score) for r in together] == [(r.prior, r.trial, r.score) for r in single]
    on_cpu = simulate(SMALL, NAMES, 5, threads=1)
    assert scores(together, "mmv-amp") == scores(on_cpu, "mmv-amp")
    for (_, found), (_, expected) in zip(scores(together), scores(on_cpu), strict=True):
        assert (found.missed, found.false_alarms) == (expected.missed, expected.false_alarms)
        assert found.error_energy == pytest.approx(expected.error_energy, rel=5e-3)  # channels agree to 1e-3


@on_a_gpu
def test_a_dask_worker_with_a_gpu_takes_whole_batches(gpu_device, batches, tmp_path):
    """In a thread of this process, which has the emulator in the GPU's place."""
    distributed = pytest.importorskip("distributed")
    options = dict(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    with distributed.LocalCluster(**options) as cluster:
        there = simulate(
            SMALL, NAMES, 5, device="cuda", batch=2, scheduler=cluster.scheduler_address, resume=tmp_path / "there"
        )
    assert batches[-2:] == [2, 2]
    assert scores(there) == scores(simulate(SMALL, NAMES, 5, threads=1, device="cuda", batch=2))


@on_a_gpu
def test_fresh_pilots_go_one_by_one(gpu_device, batches):
    fresh = Scenario(**{**vars(SMALL), "fresh_pilots": True})
    found = simulate(fresh, ("gaussian",), 3, threads=1, device="cuda", batch=3)
    assert set(batches) <= {1}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 2}, "batch: expected the default without a GPU, found 2"),
        ({"device": "cuda", "priors": ("cdl-tiny", "genie")}, "priors: expected no genie with device='cuda'"),
        ({"device": "cuda", "batch": 0}, "batch: expected at least 1, found 0"),
    ],
)
def test_what_batches_are_not_for(options, message):
    with pytest.raises(ValueError, match=message):
        simulate(SMALL, **{"priors": ("gaussian",), "trials": 1, **options})
