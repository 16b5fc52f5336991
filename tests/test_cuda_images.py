"""Images of a radio in detections that still run on a GPU, and pilots that make none."""

import numpy as np
import pytest
import torch
from problems import complex_normal

import jadce_fast as jf
from jadce_fast.cuda.images import DeviceImages
from jadce_fast.images import Images

pytestmark = pytest.mark.usefixtures("one_thread")

N, M, K = 8, 4, 60


@pytest.mark.parametrize("flipped", [False, True])
def test_finds_what_the_host_finds(gpu_device, flipped):
    """Devices of all strengths, some of them images: of one gain, of gains of antennas, of others; and an offset."""
    rng, told = np.random.default_rng(0), []
    pilots = jf.Pilots.from_rows(np.tile([[3], [7]], (1, N)), K) if flipped else jf.dft_pilots(K, 2, N)
    images, on_device = Images(pilots, M), DeviceImages(pilots)
    for trial in range(40):
        k = rng.choice(np.arange(1, K // 2), rng.integers(1, 5), replace=False)
        h = complex_normal(rng, len(k), N, M)
        gain = 0.08 * (rng.choice([1, 1j], M) if trial % 3 else complex_normal(rng, M) / np.sqrt(M))
        of = h[:, ::-1] if flipped else h
        weak = gain * of.conj() if trial % 2 else 0.08 * complex_normal(rng, *h.shape)
        kept = rng.random(len(k)) < 0.8
        active, channels = np.r_[k, K - k[kept]], np.concatenate([h, weak[kept]])
        if trial % 5 == 0:
            flat = np.broadcast_to(complex_normal(rng, 1 if trial % 2 else M), (1, N, M))
            active, channels = np.r_[active, 0], np.concatenate([channels, flat])
        order = np.argsort(active)
        active, channels = active[order], (1e-9 * channels[order]).astype(np.complex64)
        told.append(bool(images.doubt(active, lambda rows, h=channels: h[rows])))
        padded = torch.full((12,), -1), torch.zeros((12, N, M), dtype=torch.complex64)
        padded[0][: len(active)], padded[1][: len(active)] = torch.from_numpy(active), torch.from_numpy(channels)
        assert bool(on_device.suspected(*(x.to(gpu_device) for x in padded))) == told[-1]
    assert 5 < sum(told) < 35
    assert not on_device.suspected(torch.full((3,), -1), torch.zeros((3, N, M), dtype=torch.complex64))


@pytest.mark.parametrize("scrambled", [False, True])
def test_an_enqueued_detection_is_trusted_like_another(gpu_device, scrambled):
    """Flat channels at 26 dB and their images at once, beside a block that has none."""
    rng, pilots = np.random.default_rng(1), jf.dft_pilots(K, 16, N, scrambled=scrambled)
    y = np.einsum("tna,anm->tnm", pilots.select([7, 20]), np.repeat(complex_normal(rng, 2, 1, M), N, 1))
    y = y + 0.05 * complex_normal(rng, *y.shape)
    blocks = torch.from_numpy(np.stack([y, y + 0.15 * y.conj()]).astype(np.complex64)).to(gpu_device)
    rx = jf.Receiver(pilots, M, "gaussian", device="cuda", batch=3, capacity=12)
    expected = rx.detect_many(blocks, 0.0025)
    assert ["look like mirror images" in out.reason for out in expected] == [False, not scrambled]
    pending = rx.enqueue(blocks, 0.0025)
    assert pending.trusted.tolist() == [out.trusted for out in expected]
    assert bool(rx.enqueue(blocks[1], 0.0025).trusted) == expected[1].trusted
