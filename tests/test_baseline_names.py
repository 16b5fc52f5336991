"""Baselines by name, in campaigns and on the command line; Algorithm 2 as it is printed."""

import json
from pathlib import Path

import numpy as np
import pytest
from problems import EASY, WienerPrior, problem

import jadce_fast as jf
from jadce_fast import baselines, reference
from jadce_fast.baselines.receivers.by_name import NAMES, plan_baseline
from jadce_fast.campaigns import simulate, summarize
from jadce_fast.campaigns.ofdm_drop import Scenario

# --- STMP as printed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", ["paper", "residual"])
@pytest.mark.parametrize("prior", ["gaussian", "wiener"])
def test_printed_stmp_is_the_reference(prior, variance):
    p = problem(64, 12, 8, 8, 4, channels="paths")
    known = "gaussian" if prior == "gaussian" else WienerPrior(8, kept=8)
    receiver = baselines.printed_stmp(p.pilots, 8, known, p.activity_rate, iterations=5, variance=variance)
    found = receiver.detect(p.y, p.noise_var)
    y = p.y if prior == "gaussian" else np.fft.fft(p.y, axis=2, norm="ortho")

    def denoise(h, tau, devices):
        if prior == "gaussian":
            return reference.gaussian_denoiser()(h, tau, devices)
        basis = known.basis.astype(complex)
        z, var = known.denoise(np.einsum("np,anm->apm", basis.conj(), h), tau, devices)
        return np.einsum("np,apm->anm", basis, z), var

    history = reference.stmp(y, p.pilots, denoise, p.noise_var, p.activity_rate, iterations=5, variance=variance)
    last = history[-1]
    # Five iterations in single precision: rounding of 6e-8 in sums of some hundred terms, amplified by 1 / (1 - alpha).
    assert found.activity == pytest.approx(last.probability, abs=1e-3)
    expected = last.x_post_b[found.active]
    expected = expected if prior == "gaussian" else np.fft.ifft(expected, axis=2, norm="ortho")
    assert found.channels == pytest.approx(expected, abs=1e-3)
    assert found.channel_var == pytest.approx(last.tau_post[found.active].mean(1), rel=1e-3)


def test_printed_activity_tells_nothing_of_idle_devices():
    """Why STMP as printed raises false alarms and cannot learn lambda, whatever the network.

    (59) - (65) fit a power to the noise of an idle device, for which (30) then finds that power about as likely as
    none: its probability stays near lambda. With the power known, as in Algorithm 1, it is zero. The denoiser is exact.
    """
    p = problem(**EASY, channels="iid")
    rate, idle = 0.3, np.setdiff1d(np.arange(60), p.active)
    printed = baselines.printed_stmp(p.pilots, 8, "gaussian", rate).detect(p.y, p.noise_var)
    assert 0.2 < np.median(printed.activity[idle]) < 0.4
    known = reference.tmp(p.y, p.pilots, reference.gaussian_denoiser(), p.noise_var, rate)[-1].probability
    assert known[idle].max() < 1e-3
    learning = baselines.printed_stmp(p.pilots, 8, "gaussian", rate, learn_rate=True).detect(p.y, p.noise_var)
    assert learning.activity.mean() > rate  # far from the true 4 / 60


def test_printed_stmp_obeys_its_threshold():
    p = problem(**EASY)
    found = [
        baselines.printed_stmp(p.pilots, 8, "gaussian", p.activity_rate, threshold=t).detect(p.y, p.noise_var).active
        for t in (0.01, 0.5, 0.99)
    ]
    assert set(found[0]) > set(found[1]) >= set(found[2]) >= set(p.active)


# --- by name --------------------------------------------------------------------------------------------------


def test_campaigns_compare_baselines_on_the_same_drops_as_priors(tmp_path):
    scenario = Scenario(devices=60, symbols=12, antennas=4, activity_rate=0.08, snr_db=15.0)
    names = ("gaussian", "bg", "tmp-em:6", "somp:cdl-tiny", "oracle:cdl-tiny", "lmmse")
    path = tmp_path / "campaign"
    records = simulate(scenario, names, trials=2, seed=3, threads=1, resume=path)
    found = {name: summarize(records, name) for name in names}
    assert found["bg"].nmse_db == pytest.approx(found["gaussian"].nmse_db, abs=1e-6)
    assert len({outcome.active for outcome in found.values()}) == 1
    assert found["oracle:cdl-tiny"].missed == found["oracle:cdl-tiny"].false_alarms == 0
    assert found["oracle:cdl-tiny"].nmse_db < found["tmp-em:6"].nmse_db < found["lmmse"].nmse_db
    again = simulate(scenario, names, trials=2, seed=3, threads=1, resume=path)
    assert [r.score for r in again] == [r.score for r in records]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_plans_its_receiver(name):
    p = problem(**EASY)
    prior = "gaussian" if name.startswith(("printed-stmp", "dps")) else None
    receiver = plan_baseline(name, p.pilots, 8, p.activity_rate, 1.0, prior=prior, active=p.active)
    assert set(p.active) <= set(receiver.detect(p.y, p.noise_var).active)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("amp", "receiver: expected bg, tmp-em"),
        ("bg:cdl", "receiver: expected bg without"),
        ("tmp-em:many", "receiver: expected a number of blocks after tmp-em:, found 'many'"),
        ("oracle", "receiver: expected a block with the truth"),
        ("somp:nosuch", "prior: expected one of"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises(ValueError, match=message):
        plan_baseline(name, jf.dft_pilots(60, 12, 48), 4, 0.1, "unknown")


@pytest.mark.parametrize("name", ["tmp-em", "lmmse", "bg"])
def test_a_prior_that_would_be_ignored_is_refused(name):
    with pytest.raises(ValueError, match=f"receiver: expected {name} without a prior"):
        plan_baseline(name, jf.dft_pilots(60, 12, 48), 4, 0.1, "unknown", prior="cdl")


@pytest.mark.parametrize("arguments", [["oracle"], ["somp", "--prior", "cdl-tiny"], ["lmmse"]], ids=" ".join)
def test_detect_takes_baselines(arguments, jadce):
    capture = Path(__file__).parent / "data/sionna_cdl_c_dft.npz"
    status, out, _ = jadce("detect", capture, "--json", "--receiver", *arguments)
    assert status == 0
    found = json.loads(out)
    assert found["receiver"] == arguments[0]
    assert found["missed"] == found["false_alarms"] == 0
