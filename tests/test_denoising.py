"""The denoising benchmark: its channels, what it measures, going on, and the command."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread
from problems import WienerPrior, complex_normal

from jadce_fast import channels
from jadce_fast.campaigns.denoising import benchmark
from jadce_fast.campaigns.estimators import BASELINES, Baseline, Denoiser, Genie, divergence
from jadce_fast.campaigns.held_out import HeldOut, noise_profiles, to_beams
from jadce_fast.campaigns.store import read_rows
from jadce_fast.priors.files import load_prior, save_prior
from jadce_fast.priors.gaussian import GaussianPrior

SMALL = HeldOut(antennas=8, seed=3)
LEVELS = (0, 20)


def gaussian_chunk(setting):
    """Gaussian channels in the place of CDL ones."""
    h = complex_normal(np.random.default_rng(1), 25, setting.subcarriers, setting.antennas)
    return replace(setting.chunk(0), h=h.astype(np.complex64))


def untimed(rows):
    return [replace(row, seconds=0.0) for row in rows]


def test_channels_are_held_out_by_index():
    one, two = SMALL.chunk(1), replace(SMALL, seed=4).chunk(1)
    assert np.array_equal(one.h, SMALL.chunk(1).h)
    assert not np.array_equal(one.h, two.h)
    assert not np.array_equal(one.h, SMALL.chunk(0).h)
    assert np.mean(abs(one.h) ** 2, axis=(1, 2)) == pytest.approx(np.ones(25), rel=1e-5)
    expected = channels.unit_power(channels.synthesize(one.paths, 48, 8))
    assert np.array_equal(one.h, expected)
    assert np.array_equal(one.part(3, 5).h, one.h[3:5])
    assert np.array_equal(one.part(3, 5).paths.phase, one.paths.phase[3:5])


@pytest.mark.parametrize("antennas", [2, 5, 32])
def test_coloured_noise_is_ten_to_one_with_the_right_mean(antennas):
    profile = noise_profiles(50, antennas, np.random.default_rng(0))
    assert profile.max(1) / profile.min(1) == pytest.approx(np.full(50, 10), rel=1e-5)
    assert profile.mean(1) == pytest.approx(np.ones(50), rel=1e-5)


def test_noise_has_the_variance_that_is_told():
    chunk = SMALL.chunk(0)
    for noise in ("white", "coloured"):
        y, v = chunk.observe(noise, 10)
        assert v.mean(1) == pytest.approx(np.full(25, 0.1), rel=1e-5)
        power = abs(to_beams(y - chunk.h)) ** 2 / v[:, None, :]
        # A mean of 25 * 48 exponential numbers for every beam: 3 % each.
        assert power.mean((0, 1)) == pytest.approx(np.ones(8), abs=5 / np.sqrt(25 * 48))
    assert (v[:, :1] != v).any()


@pytest.mark.parametrize("noise", ["white", "coloured"])
def test_genie_is_the_dense_lmmse_estimate(noise):
    """In double precision, with the dense covariance over subcarriers and antennas."""
    setting = HeldOut(subcarriers=10, antennas=6)
    chunk = setting.chunk(0).part(0, 4)
    found = Genie(setting).measure(chunk, noise, 10)
    y, v = chunk.observe(noise, 10)
    factor = channels.path_covariance_factor(chunk.paths, 10, 6, dtype=np.complex128)
    beams = np.fft.fft(np.eye(6), norm="ortho")
    for i in range(4):
        covariance = factor[i] @ factor[i].conj().T
        noise_covariance = np.kron(np.eye(10), beams.conj().T @ np.diag(v[i]) @ beams)
        gain = np.linalg.solve(covariance + noise_covariance, covariance).conj().T
        error = np.sum(abs(gain @ y[i].ravel() - chunk.h[i].ravel()) ** 2)
        promised = np.trace(covariance - gain @ covariance).real
        # The genie drops directions below 1e-7 of a channel's power: errors of some 1e-7 N M / 0.05.
        assert found["error"][i] == pytest.approx(error, rel=2e-3)
        assert found["promised_error"][i] == pytest.approx(promised, rel=2e-3)


@pytest.mark.parametrize("snr", [-10, 0, 10])
def test_gaussian_prior_on_gaussian_channels(snr):
    setting = replace(SMALL, subcarriers=16)
    v = 10 ** (-snr / 10)
    found = Denoiser("gaussian", GaussianPrior(16), setting).measure(gaussian_chunk(setting), "white", snr)
    entries = 25 * 16 * 8
    assert np.sum(found["promised_error"]) == pytest.approx(entries * v / (1 + v), rel=1e-5)
    # The true error is a sum of exponential numbers, one an entry.
    assert np.sum(found["promised_error"]) == pytest.approx(np.sum(found["error"]), rel=5 / np.sqrt(entries))
    # Linear and with a probe of unit modulus: no Monte-Carlo error. Single precision: 1e-7 over a step of 0.05 sqrt(v).
    assert found["divergence"] == pytest.approx(np.full(25, 16 * 8 / (1 + v)), rel=1e-4)
    assert found["promised_divergence"] == pytest.approx(np.full(25, 16 * 8 / (1 + v)), rel=1e-5)


def test_divergence_of_a_linear_prior_in_coloured_noise():
    class Wiener(WienerPrior):
        def denoise(self, z, v):
            return super().denoise(z, v, None)

    setting = replace(SMALL, subcarriers=16)
    found = Denoiser("wiener", Wiener(16, kept=5), setting).measure(setting.chunk(0), "coloured", 10)
    assert found["divergence"] == pytest.approx(found["promised_divergence"], rel=1e-4)
    kept, whole = np.sum(found["kept_error"]), np.sum(found["error"])
    basis = WienerPrior(16, kept=5).basis.astype(complex)
    h = setting.chunk(0).h
    left_out = np.sum(abs(h - basis @ (basis.conj().T @ h)) ** 2)
    assert whole == pytest.approx(kept + left_out, rel=1e-4)  # the basis is orthonormal


def test_divergence_of_a_posterior_mean_is_its_variance_over_the_noise():
    """Tweedie's formula for a denoiser that is not linear: numbers that are 0 or CN(0, 4), one to three."""

    class Sparse:
        def denoise(self, z, v):
            z = z.astype(complex)
            noise = v[:, None, :].astype(float)
            on = 0.25 * np.exp(-(abs(z) ** 2) / (4 + noise)) / (4 + noise)
            off = 0.75 * np.exp(-(abs(z) ** 2) / noise) / noise
            p, gain = on / (on + off), 4 / (4 + noise)
            second = p * (gain * noise + abs(gain * z) ** 2)
            return p * gain * z, (second - abs(p * gain * z) ** 2).mean(1)

    rng = np.random.default_rng(2)
    x = 2 * complex_normal(rng, 400, 6, 5) * (rng.random((400, 6, 5)) < 0.25)
    v = rng.uniform(0.1, 1, (400, 5)).astype(np.float32)
    z = x + np.sqrt(v)[:, None, :] * complex_normal(rng, *x.shape)
    probe = np.exp(2j * np.pi * rng.random(x.shape))
    var = Sparse().denoise(z, v)[1]
    difference = divergence(Sparse(), z, v, probe) - 6 * (var / v).sum(1)
    assert abs(difference.mean()) < 5 * difference.std() / np.sqrt(400)
    assert difference.std() / np.sqrt(400) < 0.02 * 6 * (var / v).sum(1).mean()  # a factor of two would be seen


def test_rows():
    rows = benchmark(SMALL, ("ls", "bg", "cdl-tiny", "gaussian"), LEVELS, channels=30)
    assert [r.noise for r in rows] == ["white"] * 10 + ["coloured"] * 10
    assert [r.estimator for r in rows[:10:2]] == ["ls", "bg", "cdl-tiny", "gaussian", "genie"]
    for row in rows:
        assert row.channels == 30
        assert row.seconds > 0
        assert row.genie_gap_db == 0 if row.estimator == "genie" else row.genie_gap_db > 0
        if row.estimator == "ls":
            # A mean of exponential numbers, of unequal variances if coloured (their squares' mean is below 2).
            sd = 10 / np.log(10) * np.sqrt(2 / (30 * 48 * 8))
            assert row.nmse_db == pytest.approx(-row.snr_db, abs=5 * sd)
            assert 0.3 * sd < row.nmse_db_se < 2 * sd
        if row.estimator == "gaussian":
            v = 10 ** (-row.snr_db / 10)
            assert row.divergence == pytest.approx(1 / (1 + v), rel=1e-3)
            assert row.divergence_ratio == pytest.approx(1, rel=1e-3)
        if row.estimator == "cdl-tiny":
            assert row.parameters == sum(p.numel() for p in load_prior("cdl-tiny").network.parameters())
            assert row.multiplications == load_prior("cdl-tiny").network.multiplications(8)
            assert row.genie_gap_db < 3
            assert 0.8 < row.calibration < 1.25
            assert 0.8 < row.divergence_ratio < 1.25
    genie = {(r.noise, r.snr_db): r for r in rows if r.estimator == "genie"}
    for row in rows:
        gap = row.nmse_db - genie[row.noise, row.snr_db].nmse_db
        assert row.genie_gap_db == pytest.approx(gap, abs=1e-9)


def test_slow_estimators_meet_the_genie_on_their_channels():
    slow, genie = benchmark(replace(SMALL, antennas=3), ("valse",), (-5,), ("white",), channels=4, slow_channels=2)
    few = benchmark(replace(SMALL, antennas=3), (), (-5,), ("white",), channels=2)[0]
    assert (slow.channels, genie.channels, few.channels) == (2, 4, 2)
    assert slow.genie_gap_db == pytest.approx(slow.nmse_db - few.nmse_db, abs=1e-4)


def test_one_channel_has_no_standard_error():
    row = benchmark(SMALL, ("ls",), (10,), ("white",), channels=1)[0]
    assert row.nmse_db_se is None
    assert row.genie_gap_db_se is None


@pytest.mark.parametrize("name", [n for n in BASELINES if n != "ls"])
def test_baselines_are_better_than_nothing_and_worse_than_the_genie(name):
    for noise in ("white", "coloured"):
        row = benchmark(replace(SMALL, antennas=4), (name,), (10,), (noise,), channels=2)[0]
        assert row.nmse_db < -8
        assert row.genie_gap_db > 0


def test_going_on(tmp_path, monkeypatch):
    path = tmp_path / "cai-4"
    names = ("ls", "cdl-tiny")
    whole = benchmark(SMALL, names, LEVELS, channels=60)

    def interrupt(done, name):
        if (done, name) == (50, "cdl-tiny"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark(SMALL, names, LEVELS, channels=60, resume=path, progress=interrupt)
    kept = read_rows(path)[1]
    for name, count in (("ls", 60), ("cdl-tiny", 50)):
        assert sum((r["estimator"], r["noise"], r["snr_db"]) == (name, "white", "0.0") for r in kept) == count
    assert untimed(benchmark(SMALL, names, LEVELS, channels=60, resume=path)) == untimed(whole)

    before = (path / "results.csv").read_text()
    monkeypatch.setattr(HeldOut, "chunk", None)  # nothing is drawn again, not for fewer either
    assert untimed(benchmark(SMALL, names, LEVELS, channels=60, resume=path)) == untimed(whole)
    assert (path / "results.csv").read_text() == before
    assert benchmark(SMALL, names, LEVELS, channels=40, resume=path)[0].channels == 40
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_in_the_middle_of_a_line(tmp_path):
    path = tmp_path / "cai-4"
    whole = benchmark(SMALL, ("cdl-tiny",), (10,), channels=50, resume=path)
    table = path / "results.csv"
    table.write_bytes(table.read_bytes()[: len(table.read_bytes()) // 2])
    assert untimed(benchmark(SMALL, ("cdl-tiny",), (10,), channels=50, resume=path)) == untimed(whole)


def test_an_estimate_that_is_not_finite_is_refused(monkeypatch):
    monkeypatch.setattr(Baseline, "estimate", lambda self, y, noise_var: np.nan * y)
    with pytest.raises(ValueError, match="ls: expected finite estimates, found others at 10 dB"):
        benchmark(SMALL, ("ls",), (10,), channels=1)


def test_more_channels_later(tmp_path):
    path = tmp_path / "cai-4"
    benchmark(SMALL, ("cdl-tiny",), LEVELS, channels=16, resume=path)
    more = benchmark(SMALL, ("cdl-tiny",), LEVELS, channels=30, resume=path)
    whole = benchmark(SMALL, ("cdl-tiny",), LEVELS, channels=30)
    for a, b in zip(more, whole, strict=True):
        # In batches of other sizes: the order of single-precision sums.
        assert a.nmse_db == pytest.approx(b.nmse_db, abs=1e-4)
        if a.estimator != "genie":
            assert a.divergence == pytest.approx(b.divergence, rel=1e-3)


def test_other_weights_are_measured_anew(tmp_path):
    path, weights = tmp_path / "cai-4", tmp_path / "own.safetensors"
    prior = load_prior("cdl-tiny")

    def run():
        return benchmark(SMALL, (str(weights),), (10,), ("white",), channels=5, resume=path)[0]

    save_prior(weights, prior)
    first = run()
    assert run() == first  # seconds too: nothing was measured
    prior.network.out.weight.data.zero_()  # leaves the Wiener estimate
    save_prior(weights, prior)
    assert run().nmse_db > first.nmse_db + 0.5


def test_files_of_other_channels_are_refused(tmp_path):
    path = tmp_path / "cai-4"
    benchmark(SMALL, ("ls",), (10,), channels=1, resume=path)
    with pytest.raises(ValueError, match="expected a campaign with seed=4, found 3"):
        benchmark(replace(SMALL, seed=4), ("ls",), (10,), channels=1, resume=path)
    (path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="expected a campaign to resume, found something else"):
        benchmark(SMALL, ("ls",), (10,), channels=1, resume=path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels: expected at least 1, found 0"),
        ({"slow_channels": 0}, "slow_channels: expected at least 1, found 0"),
        ({"threads": 0}, "threads: expected at least 1"),
        ({"snr_db": ()}, "snr_db: expected at least one"),
        ({"snr_db": (float("nan"),)}, "snr_db: expected a finite number"),
        ({"noises": ("pink",)}, "noises: expected white or coloured, found 'pink'"),
        ({"noises": ()}, "noises: expected at least one"),
        ({"estimators": ("nosuch",)}, "prior: expected one of"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        benchmark(SMALL, **({"estimators": ("ls",)} | arguments))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "F"}, "model: expected one of A, B, C, D, E, found 'F'"),
        ({"angles": "up"}, 'angles: expected "departure" or "arrival"'),
        ({"antennas": 1}, "antennas: expected at least 2, found 1"),
        ({"seed": -1}, "seed: expected at least 0"),
        ({"delay_spread": (2e-7, 1e-7)}, "delay_spread: expected low <= high"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_a_prior_of_other_subcarriers_is_refused():
    with pytest.raises(ValueError, match="prior ncsn-c: expected one for 12 subcarriers, found 48"):
        benchmark(replace(SMALL, subcarriers=12), ("ncsn-c",))


FAST = ["--prior", "cdl-tiny", "--baseline", "ls", "--baseline", "bg", "--channels", 3]


def test_command_writes_pictures_table_and_json(jadce, tmp_path):
    output = tmp_path / "new" / "out"
    status, out, err = jadce("figures", "cai-4", "--output", output, "--snr", "-10:30:20", "--json", *FAST)
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert len(found["results"]) == 2 * 4 * 3
    assert sorted(p.name for p in output.iterdir()) == ["cai-4", "cai-4-coloured.png", "cai-4.csv", "cai-4.png"]
    with open(output / "cai-4.csv") as file:
        lines = list(csv.DictReader(file))
    for line, row in zip(lines, found["results"], strict=True):
        assert line["estimator"] == row["estimator"]
        assert float(line["nmse_db"]) == row["nmse_db"]
    for name in ("cai-4.png", "cai-4-coloured.png"):
        image = imread(output / name)
        assert image.shape[0] > 800
        assert image[..., :3].std() > 0.05
    # Again, as a table, of one kind of noise and an SNR that is not there yet.
    status, out, err = jadce("figures", "cai-4", "--output", output, "--snr", "5,10", "--noise", "white", *FAST)
    assert status == 0
    assert "dB above the genie" in out
    assert "coloured" not in out.replace("cai-4-coloured", "")
    assert "cdl-tiny" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--snr", "ten"], "--snr: expected a list such as 0,10,20 or LOW:HIGH:STEP, found 'ten'"),
        (["--snr", "10:0:5"], "--snr: expected a list"),
        (["--snr", "0:10:0"], "--snr: expected a list"),
        (["--noise", "pink"], "--noise: expected white, coloured or both, found 'pink'"),
        (["--baseline", "lmmse"], "--baseline: expected ls or omp"),
        (["--prior", "nosuch"], "prior: expected one of"),
        (["--model", "F"], "model: expected one of A, B, C, D, E"),
        (["--channels", "0"], "channels: expected at least 1"),
    ],
)
def test_bad_commands(jadce, tmp_path, arguments, message):
    status, out, err = jadce("figures", "cai-4", "--output", tmp_path, *arguments)
    assert status == 2
    assert out == ""
    assert message in err
    assert not list(tmp_path.iterdir())


def test_figures_alone_are_listed(jadce):
    status, out, err = jadce("figures")
    assert (status, err) == (0, "")
    assert "cai-4" in out
