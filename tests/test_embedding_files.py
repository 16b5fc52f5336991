"""Files of priors that libjadce refuses: truncated, damaged or hostile ones end as a status that names them."""

import dataclasses
import json
import struct

import libjadce
import numpy as np
import pytest
from libjadce import FILE, OK, UNSUPPORTED, WEIGHTS, Error, Plan, planned
from problems import problem

import jadce_fast as jf
from jadce_fast.priors.beam import BeamPrior
from jadce_fast.priors.files import save_prior

if not (libjadce.HOME / "lib" / "libjadce.so").exists():
    pytest.skip("the C library is not beside the module", allow_module_level=True)


def refused(path):
    """What is said of a file that is none or damaged; it names the file."""
    status, words = planned(jf.dft_pilots(8, 4, 48), str(path))
    assert status == FILE, (status, words)
    assert words.startswith("prior: expected ")
    assert f"found '{path}'" in words
    return words


def test_truncated_files(tmp_path):
    whole = (WEIGHTS / "cdl-tiny.safetensors").read_bytes()
    path = tmp_path / "prior.safetensors"
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    assert header < len(whole)
    for length in [*range(0, 12), *np.linspace(12, len(whole) - 1, 60).astype(int), header - 1, header, header + 1]:
        path.write_bytes(whole[:length])
        refused(path)


def test_files_with_flipped_bits(tmp_path):
    """They are refused by name, or taken where a number is another one, and detections with that are finite."""
    whole = (WEIGHTS / "cdl-tiny.safetensors").read_bytes()
    path, rng = tmp_path / "prior.safetensors", np.random.default_rng(0)
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    p = problem(devices=8, symbols=4, subcarriers=48, antennas=2, active=1)
    refusals = {}
    places = [*range(64), *(8 * rng.choice(header, 300)), *(8 * rng.choice(len(whole), 60))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8 if place < 64 else rng.integers(8))
        path.write_bytes(damaged)
        try:
            plan = Plan(p.pilots, 2, str(path), threads=1)
        except Error as error:
            refusals[place] = error
            continue
        found = plan.detect(p.y, p.noise_var)
        for values in (found.activity, found.channels, found.channel_var):
            assert np.isfinite(values).all(), place
        plan.close()
    for place, error in refusals.items():
        assert error.status == FILE, place
        assert str(path) in str(error), place
    assert set(range(64)) <= set(refusals)  # the header's length is another one
    assert 100 < len(refusals) < len(places) - 60


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


HEAD = {"format": "jadce-prior", "version": "1", "subcarriers": "48", "metadata": "{}"}
SMALL = dict(width=16, hidden=16, blocks=1, taps=3, dilations=[1])
LAYERS = {
    "inp": (16, 13),
    "body.0.depthwise": (16, 3),
    "body.0.expand": (16, 16),
    "body.0.mix": (16, 16),
    "out": (9, 16),
}


def tensor(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def small_prior(architecture=SMALL, described=None, **changes):
    """A file of four coefficients on 48 subcarriers; other tensors (None: without), or one described otherwise."""
    tensors = {
        "network.eigenvalues": np.ones(4),
        "basis.real": np.eye(48, 4),
        "basis.imag": np.zeros((48, 4)),
        "beam_gain": np.ones(1),
        "beam_weight": np.ones(1),
    }
    for name, shape in LAYERS.items():
        tensors |= {f"network.{name}.weight": np.full(shape, 0.1), f"network.{name}.bias": np.zeros(shape[0])}
    header, data = {"__metadata__": HEAD | {"architecture": json.dumps(architecture)}}, b""
    for name, values in (tensors | changes).items():
        if values is None:
            continue
        content = np.asarray(values, np.float32).tobytes()
        header[name] = tensor(np.shape(values), [len(data), len(data) + len(content)])
        data += content
    return safetensors(header | (described or {}), data)


def eigenvalues(*words, **options):
    return small_prior(described={"network.eigenvalues": tensor(*words, **options)})


SIDE = 1 << 20
HOSTILE = {
    "length-2^63": (struct.pack("<Q", 2**63) + b"{}", "a header that is longer than the file"),
    "length-2^64": (struct.pack("<Q", 2**64 - 1) + b"{}", "a header that is longer than the file"),
    "arrays": (safetensors(b"[" * 100_000), "JSON with a fault at byte 33"),
    "objects": (safetensors(b'{"a":' * 50_000), "JSON with a fault at byte 165"),
    "escape": (safetensors(b'{"__metadata__":{"format":"\\u12"}}'), "JSON with a fault at byte"),
    "end-in-escape": (safetensors(b'{"__metadata__":{"format":"jadce-prior\\'), "JSON with a fault at byte"),
    "twice": (safetensors(b'{"__metadata__":{},"__metadata__":{}}'), "JSON with a fault at byte"),
    "metadata": (safetensors({"__metadata__": 3}), "no format"),
    "version": (safetensors({"__metadata__": HEAD | {"version": "2"}}), "a version that is not 1"),
    "no-tensors": (safetensors({"__metadata__": HEAD}), "no network.eigenvalues"),
    "a-million-members": (
        safetensors({"__metadata__": HEAD | {"network": "cascade", "members": "1000000"}}),
        "no 0.subcarriers",
    ),
    "cascade-in-cascade": (
        safetensors({"__metadata__": HEAD | {"network": "cascade", "members": "1", "0.network": "cascade"}}),
        "a cascade within a cascade",
    ),
    "rank": (eigenvalues([2**32, 2**32], [0, 16]), "network.eigenvalues of another rank"),
    "side-2^40": (eigenvalues([2**40], [0, 16]), "network.eigenvalues with fewer bytes"),
    "side-2^41": (eigenvalues([2**41], [0, 16]), "shape that is no whole number"),
    "too-many-bytes": (eigenvalues([4], [0, 32]), "network.eigenvalues with more bytes"),
    "backwards": (eigenvalues([4], [16, 0]), "network.eigenvalues with fewer bytes"),
    "beyond": (eigenvalues([4], [0, 2**50]), "data_offsets that is no whole number"),
    "before": (eigenvalues([4], [-16, 0]), "data_offsets that is no whole number"),
    "half-a-byte": (eigenvalues([4], [0.5, 16]), "data_offsets that is no whole number"),
    "negative": (eigenvalues([-4], [0, 16]), "shape that is no whole number"),
    "empty": (eigenvalues([0], [0, 0]), "shape that is no whole number"),
    "shape-text": (eigenvalues("4", [0, 16]), "shape that is no array"),
    "one-offset": (eigenvalues([4], [0]), "network.eigenvalues of another rank"),
    "half-precision": (eigenvalues([8], [0, 16], "F16"), "network.eigenvalues that is not of type F32"),
    "side-1e300": (eigenvalues([1e300], [0, 16]), "shape that is no whole number"),
    "zeros": (small_prior(**{"network.eigenvalues": np.zeros(4)}), "eigenvalues that is not positive"),
    "nan": (small_prior(beam_gain=[np.nan]), "beam_gain with numbers that are not finite"),
    "coefficients": (small_prior(**{"network.eigenvalues": np.ones(49)}), "more coefficients than subcarriers"),
    "no-basis": (small_prior(**{"basis.real": None}), "no basis.real"),
    "basis": (small_prior(**{"basis.imag": np.zeros((4, 48))}), "basis.imag of another shape"),
    "weights": (small_prior(beam_weight=np.ones(2)), "beam_weight of another shape"),
    "gains": (small_prior(beam_gain=1.1 ** np.arange(97), beam_weight=np.ones(97)), "too many components"),
    "width-2^20": (small_prior(SMALL | dict(width=SIDE)), "network.inp.weight of another shape"),
    "width-2^21": (small_prior(SMALL | dict(width=2 * SIDE)), "width that is no whole number from 1 to 1048576"),
    "hidden-2^20": (small_prior(SMALL | dict(hidden=SIDE)), "network.body.0.expand.weight of another shape"),
    "blocks-2^20": (small_prior(SMALL | dict(blocks=SIDE)), "no network.body.1.depthwise.weight"),
    "all-2^20": (
        small_prior(
            dict(width=SIDE, hidden=SIDE, blocks=SIDE, taps=1, dilations=[1]),
            {"network.inp.weight": tensor([SIDE, 13], [0, 64])},
        ),
        "network.inp.weight with fewer bytes",
    ),
    "taps": (small_prior(SMALL | dict(taps=1000)), "taps that is no whole number"),
    "no-dilations": (small_prior(SMALL | dict(dilations=[])), "no dilations"),
    "dilation": (small_prior(SMALL | dict(dilations=[2**31])), "dilations that is no whole number"),
    "layer": (small_prior(**{"network.out.weight": np.ones((9, 8))}), "network.out.weight of another shape"),
}


def test_the_plain_file_is_taken(tmp_path):
    """What hostile files are made of is a prior, so that each is refused for its own fault."""
    path = tmp_path / "prior.safetensors"
    path.write_bytes(small_prior())
    assert planned(jf.dft_pilots(8, 4, 48), str(path)) == (OK, "")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name, tmp_path):
    content, words = HOSTILE[name]
    path = tmp_path / "prior.safetensors"
    path.write_bytes(content)
    assert words in refused(path)


def test_a_panels_prior_is_left_to_python(tmp_path):
    prior, path = jf.load_prior("cdl-tiny"), tmp_path / "panel.safetensors"
    weights = dataclasses.replace(prior.weights, architecture=prior.weights.architecture | {"rows": 4})
    panel = BeamPrior(weights, prior.basis, prior.beam_gain, prior.beam_weight, {})
    save_prior(path, panel)
    status, words = planned(jf.dft_pilots(8, 4, 48), str(path))
    assert status == UNSUPPORTED
    assert "a network for panels" in words
    with pytest.raises(ValueError, match="prior: expected one for one row of antennas, found one for 4"):
        jf.Receiver(jf.dft_pilots(8, 4, 48), 32, path)
    assert jf.Receiver(jf.dft_pilots(8, 4, 48), (4, 8), path).prior.rows == 4
