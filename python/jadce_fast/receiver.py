"""Score-based turbo message passing for joint activity detection and channel estimation (Cai et al., Algorithm 2).

The loop runs in beamspace and in the Karhunen-Loeve basis of the prior, with variances tracked from the residual; see
docs/design.md for where and why it departs from the paper. It is planned once and then detects many blocks.
"""

from __future__ import annotations

import math
import threading
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _check, _core, ops
from .cuda import device as _cuda
from .detection import Detection, Enqueued, Reason
from .pilots import Pilots

_THRESHOLD = 2e-2  # posterior probability from which a device goes through the denoiser
_DAMP_FROM = 2  # the first iterations run undamped
_DAMPING = 0.7
_SETTLED = 0.4  # fall of the error variance above which a settled activity is not tested again
_CAUTION = 1.3  # extrinsic ratio in units of what a learned denoiser's variance says
_STALLED = 0.97  # fall of the error variance above which the loop ends
_LEVEL_DB = 3.0  # grid of unknown received powers, relative to the mean of the active devices
_LOWEST_DB, _HIGHEST_DB = -18.0, 9.0


class Receiver:
    """Joint activity detection and channel estimation, planned once for many received blocks.

    Parameters
    ----------
    pilots : Pilots
        From :func:`jadce_fast.dft_pilots`, ``Pilots.from_rows`` or ``Pilots(array)``.
    antennas : int
        M, a half-wavelength uniform linear array for the shipped priors.
    prior : str, path or object
        Name of a shipped prior ("cdl", "cdl-tiny", "cdl-large", "cdl-wide", "cdl-c", "ncsn-c"), "gaussian" for the
        i.i.d. Gaussian one (BG-TMP), a prior's ``.safetensors`` file, or any object with the attributes and the
        ``denoise`` method of :class:`jadce_fast.priors.files.Prior`.
    activity_rate : float
        lambda, prior probability that a device is active, in (0, 1).
    power : "unknown" or float
        Mean received power of an active device per antenna and subcarrier for unit pilots, if it is known (power
        control). "unknown" learns the mean from the block and allows each device 18 dB less to 9 dB more (9 dB less
        with fewer than four antennas, 3 dB less with the Gaussian prior).
    device : str or torch.device
        Where to run: "cpu", or "cuda" or "cuda:N" for a GPU.
    threads : int, optional
        Native threads, by default all processors of this process; on a GPU for planning only.
    max_iterations : int
        Iterations after which :meth:`detect` stops in any case.
    variance : {"residual", "paper"}
        Module A's variance: measured from the residual, or predicted by the messages, Cai (41) and (58).
    screening : bool
        Send only plausible devices through the denoiser (True) or all of them (False, for checks).
    capacity : int, optional
        Most devices that go through the denoiser in one iteration, by default 256 or four times the expected number of
        active ones, whichever is more. More plausible devices than that are counted in ``Detection.overflow``.
    batch : int
        On a GPU: received blocks that are detected at once.
    network : {"auto", "bf16", "fp32", "torchscript"}
        On a GPU: how the prior's network runs. "bf16" and "fp32" are native kernels of the beam networks, on tensor
        cores or in single precision; "torchscript" takes any network, in single precision. "auto" is the first that
        fits.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or does not fit another; the message names it.

    Notes
    -----
    :meth:`detect` may be called from several threads; calls on one receiver take turns.
    """

    def __init__(
        self,
        pilots: Pilots,
        antennas: int,
        prior: Any = "cdl",
        activity_rate: float = 0.05,
        power: float | Literal["unknown"] = "unknown",
        device: str = "cpu",
        threads: int | None = None,
        *,
        max_iterations: int = 24,
        variance: Literal["residual", "paper"] = "residual",
        screening: bool = True,
        capacity: int | None = None,
        batch: int = 1,
        network: Literal["auto", "bf16", "fp32", "torchscript"] = "auto",
    ) -> None:
        if not isinstance(pilots, Pilots):
            raise TypeError(f"pilots: expected jadce_fast.Pilots, found {type(pilots).__name__}")
        machine = None if str(device) == "cpu" else _cuda.machine(device)
        self.batch = _check.integer("batch", batch, 1, 65535)
        if network not in ("auto", "bf16", "fp32", "torchscript"):
            raise ValueError(f"network: expected 'auto', 'bf16', 'fp32' or 'torchscript', found {network!r}")
        if machine is None and (self.batch > 1 or network != "auto"):
            name, value = ("batch", self.batch) if self.batch > 1 else ("network", network)
            raise ValueError(f"{name}: expected the default without a GPU, found {value!r}")
        self.pilots = pilots
        self.antennas = _check.integer("antennas", antennas, 1, 4096)
        self.activity_rate = _check.real("activity_rate", activity_rate, 0.0, 1.0)
        _check.real("activity_rate", activity_rate, 1e-12, 1 - 1e-12, closed=True)
        self._log_odds = math.log(self.activity_rate / (1 - self.activity_rate))
        if isinstance(power, str) and power != "unknown":
            raise TypeError(f"power: expected 'unknown' or a real number, found {power!r}")
        self.power: float | None = None if isinstance(power, str) else _check.scale("power", power)
        self.prior = _resolve(prior, pilots.subcarriers)
        self.max_iterations = _check.integer("max_iterations", max_iterations, 1)
        if variance not in ("residual", "paper"):
            raise ValueError(f"variance: expected 'residual' or 'paper', found {variance!r}")
        self.variance = variance
        self.screening = bool(screening)

        p = self.prior
        beams = getattr(p, "beamspace", True)
        self._closed_form = bool(getattr(p, "closed_form", False))
        flat = bool(np.ptp(p.eigenvalues) == 0)  # no coefficient differs: one energy may serve several
        merge = -(-len(p.eigenvalues) // 4) if flat else 1
        # Inside, pilots have unit power: the channel of device k is seen times the gain g_k.
        unit, self._gain = _unit_power(pilots)
        same = bool(np.ptp(self._gain) <= 1e-3 * self._gain.max())
        self._mean_gain = float(np.mean(self._gain**2))
        self._plan = ops.Transform(unit, antennas, p.basis, threads=threads, merge=merge, beamspace=beams)
        self.threads = self._plan.native.threads
        groups = self._plan.groups
        members = np.bincount(np.arange(len(p.eigenvalues)) // merge, minlength=groups)
        if self.power is None or not same:
            # Without structure, or over a few antennas, energy cannot tell a very weak device from uneven noise.
            lowest = -3.0 if flat else -9.0 if self.antennas < 4 else _LOWEST_DB
            level = 10 ** (np.arange(lowest, _HIGHEST_DB + 0.1, _LEVEL_DB) / 10)
        else:
            level = np.ones(1)
        activity = (
            np.asarray(p.eigenvalues)[::merge],
            p.beam_gain,
            p.beam_weight,
            level,
            np.full(len(level), 1 / len(level)),
            members,
        )
        expected = self.activity_rate * pilots.devices
        if capacity is not None:
            self.capacity = min(pilots.devices, _check.integer("capacity", capacity, 1))
        else:
            self.capacity = min(pilots.devices, max(256, math.ceil(4 * expected)))
        if not screening:
            self.capacity = pilots.devices
        # Exact posteriors need no caution, and predicted variances allow none.
        self._caution = 1.0 if self._closed_form or variance == "paper" else _CAUTION
        self._lock = threading.Lock()
        self._gpu: Any = None
        if machine is not None:
            self._gpu = self._plan_gpu(machine, activity, network)
            return
        self._network = _native_network(p)
        self._native = _core.Receiver(
            transform=self._plan.native,
            activity=ops.activity_plan(*activity),
            gram=self._plan.gram.ravel().tolist(),
            rotation=self._plan.rotation,
            capacity=self.capacity,
            network=self._network,
        )

    def _plan_gpu(self, machine: _cuda.Machine, activity: Any, network: Any) -> Any:
        from .cuda.denoisers import denoiser
        from .cuda.detector import Detector, Mixture, Rules
        from .cuda.receiver import CudaReceiver

        rules = Rules(
            max_iterations=self.max_iterations,
            screening=self.screening,
            predicted=self.variance == "paper",
            threshold=_THRESHOLD,
            damp_from=_DAMP_FROM,
            damping=_DAMPING,
            settled=_SETTLED,
            stalled=_STALLED,
            caution=self._caution,
        )
        with machine.here():
            detector = Detector(
                machine,
                self._plan,
                self._gain,
                Mixture(ops.activity_tables(*activity), self._log_odds),
                rules,
                denoiser(machine, self.prior, self.antennas, network),
                power=0.0 if self.power is None else self.power * self._mean_gain,
                expected=max(self.activity_rate * self.pilots.devices, 1.0),
                capacity=self.capacity,
                batch=self.batch,
            )
        return CudaReceiver(detector, (self.pilots.symbols, self.pilots.subcarriers, self.antennas))

    def detect(self, y: npt.ArrayLike, noise_var: float) -> Detection | list[Detection]:
        """Detect the active devices of a received block and estimate their channels.

        Parameters
        ----------
        y : array_like, shape (T, N, M) or (B, T, N, M)
            Received pilots over symbols, subcarriers and antennas, complex. A leading axis holds independent blocks.
            A receiver on a GPU takes torch tensors and CuPy or other arrays there (complex64, contiguous) without a
            copy, in the order of torch's current stream, and returns results of their kind on the device; NumPy arrays
            are transferred, and so are their results.
        noise_var : float
            Complex noise variance per received entry, positive.

        Returns
        -------
        Detection, or a list of B of them
            Never NaN, and never a worse explanation of the block than that nobody is active.

        Raises
        ------
        ValueError, TypeError
            If `y` has another shape, is not finite or not on the receiver's device, or `noise_var` is not positive.
        """
        noise = _check.scale("noise_var", noise_var)
        if self._gpu is not None:
            found: Detection | list[Detection] = self._gpu.detect(y, noise)
            return found
        shape = (self.pilots.symbols, self.pilots.subcarriers, self.antennas)
        if not hasattr(y, "ndim"):
            y = _check.as_array("y", y)
        if y.ndim == 4:
            blocks = _check.array("y", y, ("B", *shape), np.complex64)
            return [self._detect(block, noise) for block in blocks]
        return self._detect(_check.array("y", y, shape, np.complex64), noise)

    def enqueue(self, y: Any, noise_var: float) -> Enqueued:
        """Put a detection on torch's current stream and return at once; for receivers on a GPU.

        Parameters
        ----------
        y : array, shape (T, N, M) or (B, T, N, M)
            As for :meth:`detect`, at most `batch` blocks. Do not change it before the detection has ended.
        noise_var : float
            As for :meth:`detect`.

        Returns
        -------
        Enqueued
            Results of fixed size on the device, overwritten by the receiver's next detection.

        Raises
        ------
        ValueError, TypeError
            As :meth:`detect`, but that numbers that are not finite show in the result; if the receiver is not on a GPU.
        """
        if self._gpu is None:
            raise ValueError("device: expected a receiver planned on a GPU, found one on the CPU; use detect()")
        pending: Enqueued = self._gpu.enqueue(y, _check.scale("noise_var", noise_var))
        return pending

    def _detect(self, y: npt.NDArray[np.complex64], noise: float) -> Detection:
        with self._lock:
            return self._loop(y, noise)

    def _loop(self, y: npt.NDArray[np.complex64], noise: float) -> Detection:
        native = self._native
        received = _core.mean_square(y)
        power = self._mean_power(received, noise)
        ratio = min(max(noise / power, 1e-25), 1e25)
        native.start(y, 1 / math.sqrt(power), ratio, self.variance == "paper")
        history: list[dict[str, float]] = []
        best, previous, converged = math.inf, math.inf, False
        reason: Reason = "iterations"
        for iteration in range(self.max_iterations):
            error = native.observe()
            if not math.isfinite(error):
                reason = "diverged"
                break
            if native.settled and error > _SETTLED * previous and self.screening:
                candidates = native.hold()
            else:
                candidates = native.screen(self._log_odds, _THRESHOLD, not self.screening)
            native.gather()
            self._denoise()
            history.append({"error_var": error * power, "candidates": candidates})
            gamma = 1.0 if iteration < _DAMP_FROM else _DAMPING
            native.update(gamma, self._caution)
            if error < best:
                best = error
                native.keep()
            if error > _STALLED * previous:
                converged = error < 1.5 * best
                reason = "fixed point" if converged else "diverged"
                break
            previous = error
        someone = bool((native.kept_posterior >= 0.5).any())
        count = native.decide()
        if bool(count) != someone:
            converged, reason = False, "silence"
        remains = native.residual_var * power if count else received
        n, m = self.pilots.subcarriers, self.antennas
        channels = np.empty((count, n, m), np.complex64)
        var = np.empty(count, np.float32)
        native.channels(channels, var)
        active = native.decided(count).astype(np.int64)
        gain = self._gain[active]
        channels /= gain[:, None, None].astype(np.float32)
        channel_var = np.minimum(var.astype(np.float64) * power / gain**2, np.finfo(np.float32).max)
        return Detection(
            activity=native.kept_posterior.copy(),
            active=active,
            channels=channels,
            channel_var=channel_var.astype(np.float32),
            iterations=len(history),
            converged=converged,
            noise_var=remains,
            residual_ratio=remains / noise,
            stopped_because=reason,
            overflow=native.overflow,
            history=tuple(history),
        )

    def _mean_power(self, received: float, noise: float) -> float:
        """Mean received power of an active device: given, or what is left of the block's power without the noise."""
        if self.power is not None:
            return self.power * self._mean_gain
        mean = (received - noise) / max(self.activity_rate * self.pilots.devices, 1.0)
        # Weaker devices than this could not be told from noise in any case.
        return max(mean, 0.1 * noise / self.pilots.symbols)

    def _denoise(self) -> None:
        native = self._native
        if self._network is not None:
            native.network()
        elif self._closed_form:
            native.gaussian()
        else:
            m, p = self.antennas, self._plan.coefficients
            split = native.z[:, :, :m]
            z = split[:, :p] + 1j * split[:, p:]
            mean, var = self.prior.denoise(
                z, np.ascontiguousarray(native.noise[:, :m]), native.devices.astype(np.int64)
            )
            native.mean[:, :p, :m], native.mean[:, p:, :m] = mean.real, mean.imag
            native.var[:, :m] = var


def _unit_power(pilots: Pilots) -> tuple[Pilots, npt.NDArray[np.float64]]:
    """Pilots with unit power for every device, and the amplitudes (K,) that they had."""
    if pilots.rows is not None:
        return Pilots.from_rows(pilots.rows, pilots.devices), np.full(pilots.devices, math.sqrt(pilots.power))
    array = pilots.select()
    gain = np.sqrt(np.mean(np.abs(array.astype(np.complex128)) ** 2, axis=(0, 1)))
    gain[gain < 1e-6 * gain.max()] = gain.max()  # a device that sends nothing is never found
    return Pilots(array / gain), gain


def _native_network(prior: Any) -> Any:
    """The prior's network for the native kernel, if it is a beam network; others run where the prior wants."""
    if type(prior).__name__ != "Prior" or type(prior).__module__ != f"{__package__}.priors.files":
        return None
    network = prior.network
    layers = [network.inp]
    for block in network.body:
        layers += [block.depthwise, block.expand, block.mix]
    layers.append(network.out)
    return _core.BeamNetwork(
        subcarriers=network.subcarriers,
        width=network.inp.weight.shape[0],
        hidden=network.body[0].expand.weight.shape[0],
        taps=network.body[0].depthwise.weight.shape[1],
        dilation=[block.depthwise.dilation for block in network.body],
        eigenvalue=np.ascontiguousarray(network.eigenvalues.numpy(), np.float32),
        layers=[(np.ascontiguousarray(x.weight.detach().numpy(), np.float32), x.bias.detach().numpy()) for x in layers],
    )


def _resolve(prior: Any, subcarriers: int) -> Any:
    import os

    if isinstance(prior, (str, os.PathLike)):
        from .priors.files import gaussian_prior, load_prior

        prior = gaussian_prior(subcarriers) if prior == "gaussian" else load_prior(prior)
    if isinstance(prior, type) or not hasattr(prior, "denoise"):
        raise TypeError(f"prior: expected a name, a file or a prior object, found {type(prior).__name__}")
    if prior.subcarriers != subcarriers:
        raise ValueError(
            f"prior: expected one for {subcarriers} subcarriers like the pilots, found {prior.subcarriers}"
        )
    basis = _check.array("prior.basis", prior.basis, (subcarriers, "P"), np.complex64)
    for name, length in (("eigenvalues", basis.shape[1]), ("beam_gain", "G"), ("beam_weight", "G")):
        value = _check.array(f"prior.{name}", getattr(prior, name), (length,), np.float32)
        if value.size == 0 or value.min() <= 0:
            raise ValueError(f"prior.{name}: expected positive numbers, found {value}")
    return prior
