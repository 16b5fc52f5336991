"""The same rays and phases through other people's simulators, in double precision."""

import numpy as np
import pytest

from jadce_fast.channels import Paths, draw_paths, synthesize

CARRIER = 2.6e9
SPEED_OF_LIGHT = 299_792_458.0
# Phases stay below 1e3 rad, which are good to 1e3 * 2^-53 = 1e-13: 1e-12 leaves room for rounding only.
TOLERANCE = 1e-12


def relative_error(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("model", "ABCDE")
def test_sionna_uplink(model):
    pytest.importorskip("sionna", reason="Sionna is the oracle of this test")
    from sionna.phy import config
    from sionna.phy.channel import cir_to_ofdm_channel, subcarrier_frequencies
    from sionna.phy.channel.tr38901 import CDL, PanelArray

    config.seed = 7
    count, turn, antennas = 3, 0.7, 32
    array = {"num_rows_per_panel": 1, "polarization": "single", "polarization_type": "V"}
    array |= {"antenna_pattern": "omni", "carrier_frequency": CARRIER, "precision": "double"}
    device = PanelArray(num_cols_per_panel=1, **array)
    station = PanelArray(num_cols_per_panel=antennas, **array)
    model_options = {"bs_orientation": [turn, 0, 0], "precision": "double"}
    theirs = CDL(model, 200e-9, CARRIER, device, station, "uplink", **model_options)

    # CDL.__call__ step by step, as it does not give away its rays and initial phases.
    rays = theirs._create_rays(count)
    topology = theirs._create_topology(count, theirs._get_velocity(count))
    gains, delays, phases, _ = theirs._cir_gen(1, 1.0, theirs._get_k_factor(count), rays, topology, debug=True)
    frequencies = subcarrier_frequencies(48, 30e3, precision="double")
    expected = cir_to_ofdm_channel(frequencies, gains.permute(0, 2, 4, 1, 5, 3, 6), delays.permute(0, 2, 1, 3))
    expected = expected[:, 0, :, 0, 0, 0, :].mT.numpy()  # (B, N, M)

    link = (slice(None), 0, 0)
    azimuth, zenith, delay = (v[link].numpy() for v in (rays.aoa, rays.zoa, rays.delays))
    phase = phases[link][..., 0].numpy()  # vertical to vertical
    power = np.repeat(rays.powers[link].numpy()[..., None] / 20, 20, axis=-1)
    k_factor = float(theirs._k_factor)
    if k_factor > 0:  # the specular path, of phase zero there, goes first
        azimuth, zenith, delay, phase, power = (
            np.pad(v, [(0, 0), (1, 0)] + [(0, 0)] * (v.ndim - 2))
            for v in (azimuth, zenith, delay, phase, power / (1 + k_factor))
        )
        power[:, 0, 0] = k_factor / (1 + k_factor)
        azimuth[:, 0], zenith[:, 0] = float(theirs._los_aoa), float(theirs._los_zoa)
    # Their array is turned and has its origin in the middle.
    azimuth = azimuth - turn
    phase = phase - np.pi * (antennas - 1) / 2 * np.sin(zenith) * np.sin(azimuth)
    paths = Paths(delay, power, azimuth, zenith, phase)
    ours = synthesize(paths, 48, antennas, first_subcarrier=-24, dtype=np.complex128)
    assert relative_error(ours, expected) <= TOLERANCE

    # And our own draw has the same rays, but for their order in a cluster and the coupling.
    drawn = draw_paths(1, model, delay_spread=200e-9, random_azimuth=False)
    np.testing.assert_allclose(drawn.delay[0], delay[0], atol=1e-18)
    np.testing.assert_allclose(drawn.power[0], power[0], atol=1e-15)
    for name, values in (("azimuth", azimuth + turn), ("zenith", zenith)):
        mine = getattr(drawn, name)[0]
        if k_factor > 0:
            np.testing.assert_allclose(mine[0, 0], values[0, 0, 0], atol=1e-12)
            mine, values = mine[1:], values[:, 1:]
        np.testing.assert_allclose(np.sort(mine), np.sort(values[0]), atol=1e-12)


@pytest.mark.parametrize("model", "CD")
def test_quadriga(model):
    quadriga = pytest.importorskip("quadriga_lib", reason="quadriga-lib is the oracle of this test")
    antennas = 32
    # With half a wavelength between antennas the carrier drops out; a low one keeps phases small.
    carrier = 30e6
    omni = quadriga.arrayant.generate("omni", res=10)
    array = {k: np.repeat(omni[k], antennas, axis=2) for k in omni if k.startswith("e_")}
    array |= {k: omni[k] for k in ("azimuth_grid", "elevation_grid", "center_freq")}
    array["element_pos"] = np.zeros((3, antennas))
    array["element_pos"][1] = np.arange(antennas) / 2 * SPEED_OF_LIGHT / carrier
    array["coupling_re"], array["coupling_im"] = np.eye(antennas), np.zeros((antennas, antennas))

    paths = draw_paths(1, model, seed=3)
    azimuth, zenith, phase, power = (v.reshape(-1) for v in (paths.azimuth, paths.zenith, paths.phase, paths.power))
    length = np.repeat(paths.delay[0], paths.power.shape[2]) * SPEED_OF_LIGHT
    polarisation = np.zeros((8, power.size))  # real and imaginary part of VV, HV, VH, HH
    polarisation[0], polarisation[1] = np.cos(phase), np.sin(phase)
    nothing, origin, far = np.zeros(power.size), np.zeros(3), np.array([100.0, 0, 0])
    real, imag, delay, *_ = quadriga.arrayant.get_channels_planar(
        omni, array, nothing, nothing, np.angle(np.exp(1j * azimuth)), np.pi / 2 - zenith, power, length,
        polarisation, origin, origin, far, origin, carrier, True, False, False,
    )  # fmt: skip
    # Their coefficients have the carrier's phase over each path; antenna 0 is at the origin.
    delay = delay[0, 0]
    gains = (real + 1j * imag)[:, 0] * np.exp(2j * np.pi * carrier * delay)
    steering = np.exp(-2j * np.pi * 30e3 * np.arange(48)[:, None] * delay)
    ours = synthesize(paths, 48, antennas, dtype=np.complex128)[0]
    assert relative_error(ours, steering @ gains.T) <= TOLERANCE
