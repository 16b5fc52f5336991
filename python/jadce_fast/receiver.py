"""Score-based turbo message passing for joint activity detection and channel estimation (Cai et al., Algorithm 2).

The loop runs in beamspace and in the Karhunen-Loeve basis of the prior, with variances tracked from the residual; see
docs/design.md for where and why it departs from the paper. It is planned once and then detects many blocks.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _check, _core, ops
from .array import Array, on_array
from .compensation import compensated
from .cuda import device as cuda_device
from .denoisers import NETWORKS, choose_network, native_denoiser
from .detection import Detection, Enqueued
from .fallbacks import best_of, fallbacks
from .images import Images
from .loop_plan import LoopPlan, plan_loop
from .noise import noise_covariance, one_variance, over_beams
from .parts import Parts, split
from .pilots import Pilots
from .priors.protocol import check_prior
from .repeated import RepeatedReceiver, sequences
from .results import Results
from .rules import Rules
from .stream import NativeSource, Stream
from .structure import shared
from .unknown_noise import learn_noise

_PARTS = "for pilots that leave subcarriers out or repeat"


class Receiver:
    """Joint activity detection and channel estimation, planned once for many received blocks.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
        From :func:`jadce_fast.dft_pilots`, ``Pilots.from_rows`` or any array. What is done about devices without a
        pilot, with one that another one has, on some subcarriers only, or with the same on all: docs/structured.md.
    antennas : int or tuple of int
        M, a half-wavelength uniform linear array for the shipped priors; (rows, columns) of a panel, half a wavelength
        apart; or (polarisations, rows, columns). M is their product, and `y` has them in this order, columns fastest.
        Rows and polarisations share activity and power (docs/grids.md); on the CPU.
    prior : str, path or object
        Name of a shipped prior ("cdl", "cdl-tiny", "cdl-large", "cdl-wide", "cdl-c", "ncsn-c"), "beams" for sparse
        beams of independent subcarriers (on the CPU), "gaussian" for the i.i.d. Gaussian one (BG-TMP), "auto" for the
        first of "cdl-tiny+cdl-large", "cdl-wide", "beams" and "gaussian" that explains the block, or the one of
        least error (``Detection.prior``), a prior's ``.safetensors`` file, a ``.pt`` file of TorchScript
        (:class:`jadce_fast.ScriptPrior`), or any object with the attributes and the ``denoise`` method of
        :class:`jadce_fast.Prior`. Names or files joined by ``+`` take turns, such as "cdl-tiny+cdl-large"
        (:class:`jadce_fast.CascadePrior`): as good as the last, much faster. Named beam networks take any number of
        subcarriers, with their own distance, 30 kHz; others: ``load_prior(name, subcarriers=, spacing=)``.
    activity_rate : float or None
        lambda, prior probability that a device is active, in (0, 1). None: learned from every block, a step of
        expectation maximisation with each test of activity; ``Detection.learned_rate`` is the result.
    power : "unknown" or float
        Mean received power of an active device per antenna and subcarrier for unit pilots, if it is known (power
        control). "unknown" learns the mean from the block and allows each device 18 dB less to 9 dB more (9 dB less
        with fewer than four antennas, 3 dB less with the Gaussian prior).
    device : str or torch.device
        Where to run: "cpu", or "cuda" or "cuda:N" for a GPU.
    threads : int, optional
        Native threads, by default all processors of this process; on a GPU for planning only.
    rules : Rules, optional
        Constants of the loop: most iterations, damping, screening.
    threshold : float, optional
        Posterior probability from which a device is declared active, in [0, 1]; by default one half (`rules.active`).
        Lower for fewer misses, higher for fewer false alarms.
    capacity : int, optional
        Most devices that go through the denoiser in one iteration, by default 256 or four times the expected number of
        active ones, whichever is more. More plausible devices than that are counted in ``Detection.overflow``.
    batch : int
        On a GPU: received blocks that are detected at once.
    network : {"auto", "native", "bf16", "fp32", "torchscript"}
        How the prior's networks run. "bf16" and "fp32" are native kernels of the beam networks, with operands rounded
        to bfloat16 (at most 0.06 dB, docs/design.md) or in single precision; "native" is the faster of them: on a GPU
        the first that fits, on a CPU "bf16" with AMX or AVX512-BF16 of AMD, else "fp32". "torchscript" takes any torch
        network, in single precision. "auto" is "native" where there is a kernel and "torchscript" or the prior's own
        function elsewhere. On the CPU the attribute `network` says what was chosen, None for that function.

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
        pilots: Pilots | npt.ArrayLike,
        antennas: int | Sequence[int],
        prior: Any = "auto",
        activity_rate: float | None = 0.05,
        power: float | Literal["unknown"] = "unknown",
        device: str = "cpu",
        *,
        threads: int | None = None,
        rules: Rules | None = None,
        threshold: float | None = None,
        capacity: int | None = None,
        batch: int = 1,
        network: Literal["auto", "native", "bf16", "fp32", "torchscript"] = "auto",
        compensate: bool = False,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self.pilots = pilots = pilots if isinstance(pilots, Pilots) else Pilots(pilots)
        gpu = None if str(device) == "cpu" else cuda_device.open_device(device)
        self._shared = shared(pilots)
        if self._shared is not None:
            pilots = pilots.only(self._shared.planned)
        if not isinstance(compensate, (bool, np.bool_)):
            raise TypeError(f"compensate: expected True or False, found {compensate!r}")
        self.compensate = bool(compensate)
        if self.compensate and gpu is not None:
            raise ValueError(f"compensate: expected False with device={str(device)!r}, found True")
        self.batch = _check.integer("batch", batch, 1, 65535)
        if network not in NETWORKS:
            raise ValueError(f"network: expected {', '.join(map(repr, NETWORKS))}, found {network!r}")
        if gpu is None and self.batch > 1:
            raise ValueError(f"batch: expected the default without a GPU, found {self.batch!r}")
        self._array = array = Array.of(antennas)
        self.antennas = antennas = array.antennas
        if array.stride > 1 and gpu is not None:
            raise ValueError(f"antennas: expected a number with device={str(device)!r}, found {tuple(array)}")
        self._images = Images(self.pilots, antennas)
        rate = _core.first_rate if activity_rate is None else _check.real("activity_rate", activity_rate, 0.0, 1.0)
        _check.real("activity_rate", rate, 1e-12, 1 - 1e-12, closed=True)
        self.activity_rate = None if activity_rate is None else rate
        if isinstance(power, str) and power != "unknown":
            raise TypeError(f"power: expected 'unknown' or a real number, found {power!r}")
        self.power: float | None = None if isinstance(power, str) else _check.scale("power", power)
        auto = isinstance(prior, str) and prior == "auto"
        self._names = fallbacks(pilots.subcarriers, antennas, gpu) if auto else ()
        self._fallbacks: dict[str, Receiver] = {}  # planned when they are needed
        given = _resolve(self._names[0] if auto else prior, pilots.subcarriers)
        self.prior = p = on_array(given, array)
        if gpu is not None and getattr(p, "bands", 1) > 1:
            raise ValueError(f"prior: expected one of one band with device={str(device)!r}, found one of {p.bands}")
        if rules is not None and not isinstance(rules, Rules):
            raise TypeError(f"rules: expected jadce_fast.Rules, found {type(rules).__name__}")
        self.rules = rules or Rules()
        if threshold is not None:
            active = _check.real("threshold", threshold, 0.0, 1.0, closed=True)
            # Channels are estimated of candidates only.
            self.rules = dataclasses.replace(self.rules, active=active, threshold=min(active, self.rules.threshold))
        places = getattr(p, "places", range(pilots.subcarriers))  # of a part's subcarriers in the block
        self._results = Results(array, self._images, self._shared, places, learns_rate=activity_rate is None)
        self._shape = (pilots.symbols, pilots.subcarriers, self.antennas)
        self._arguments = arguments | {"pilots": self.pilots, "prior": prior if auto else given}

        most = None if capacity is None else _check.integer("capacity", capacity, 1)
        self._parts: Parts | None = None
        self.gpu: Any = None
        members = getattr(p, "members", (p,))
        self.network = choose_network(network, members) if gpu is None else None
        if parts := split(pilots, p):
            if gpu is not None:
                raise ValueError(
                    f"device: expected 'cpu' for pilots that leave subcarriers out or repeat, found {str(device)!r}"
                )
            options: dict[str, Any] = {
                "threads": threads,
                "rules": self.rules,
                "capacity": capacity,
                "network": network,
            }

            def receiver(part: Pilots, seen: Any) -> Receiver | RepeatedReceiver:
                if (repeated := sequences(part)) is None:
                    return Receiver(part, antennas, seen, activity_rate, power, **options)
                return RepeatedReceiver(
                    repeated,
                    self.antennas,
                    seen,
                    activity_rate=rate,
                    power=self.power,
                    levels=_core.power_levels(flat=bool(np.ptp(seen.eigenvalues) == 0), antennas=self.antennas),
                    rules=self.rules.of_antennas(self.antennas, seen),
                    capacity=self._most(part.devices, most),
                    threads=threads,
                )

            if compensate:
                raise ValueError(f"compensate: expected False {_PARTS}, found True")
            self._parts = Parts(parts, pilots, p, receiver)
            self.threads = ops.default_threads() if threads is None else threads
            self.capacity = self._most(pilots.devices, most)
            return

        self.capacity = self._most(pilots.devices, most)
        plan = plan_loop(
            pilots,
            antennas,
            p,
            threads=threads,
            rules=self.rules,
            rate=rate,
            learn_rate=activity_rate is None,
            power=self.power,
            capacity=self.capacity,
        )
        self._plan = plan.transform
        self.threads = self._plan.native.threads
        if gpu is not None:
            self.gpu = self._plan_gpu(gpu, plan, network)
            return
        self._native = _core.Receiver(
            transform=self._plan.native,
            activity=_core.ActivityPlan(**plan.tables),
            gram=self._plan.gram.ravel(),
            rotation=self._plan.rotation,
            amplitude=plan.gain,
            denoisers=tuple(native_denoiser(member, self._shared, self.network) for member in members),
            **(plan.loop | {"rules": plan.loop["rules"].native()}),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy plan anew on the other side: native plans, threads and a GPU's memory do not travel."""
        return functools.partial(type(self), **self._arguments), ()

    def _most(self, devices: int, capacity: int | None) -> int:
        """Most candidates of one iteration among so many devices."""
        rate = _core.first_rate if self.activity_rate is None else self.activity_rate
        return _core.most_candidates(rules=self.rules.native(), rate=rate, devices=devices, asked=capacity or 0)

    def _plan_gpu(self, gpu: cuda_device.Device, plan: LoopPlan, network: Any) -> Any:
        from .cuda.denoisers import denoiser
        from .cuda.detector import Detector
        from .cuda.images import DeviceImages
        from .cuda.receiver import CudaReceiver

        with gpu.here():
            detector = Detector(
                gpu,
                plan.transform,
                plan.gain,
                plan.tables,
                denoiser(gpu, self.prior, self.antennas, network),
                batch=self.batch,
                **plan.loop,
            )
        return CudaReceiver(detector, self._shape, self._images, DeviceImages(self.pilots), self._shared)

    def detect(self, y: npt.ArrayLike, noise_var: Any = None) -> Detection:
        """Detect the active devices of a received block and estimate their channels.

        Parameters
        ----------
        y : array_like, shape (T, N, M)
            Received pilots over symbols, subcarriers and antennas, complex. A receiver on a GPU takes torch tensors and
            CuPy or other arrays there (complex64, contiguous) without a copy, in the order of torch's current stream,
            and returns results of their kind on the device; NumPy arrays are transferred, and so are their results.
        noise_var : float or array_like, optional
            Complex noise variance per received entry, positive: one of all entries, per antenna (M,), per subcarrier
            (N,), or (N, M), or a covariance over antennas, (M, M) or one a subcarrier (N, M, M). None: learned from the
            block in two to five detections, ``Detection.learned_noise_var``.

        Returns
        -------
        Detection
            Never NaN, and never a worse explanation of the block than that nobody is active.

        Raises
        ------
        ValueError, TypeError
            If `y` has another shape, is not finite or not on the receiver's device, or `noise_var` is not positive.
        """
        noise = None if noise_var is None else noise_covariance(noise_var, *self._shape[1:])
        return self._best(self._compensated(self._detect(y, noise), y, noise), y, noise)

    def _compensated(self, found: Detection, y: Any, noise: Any) -> Detection:
        """The result, with ``compensate=True`` of the block without what clocks and radios did to it."""
        if not self.compensate or not len(found.active):
            return found

        def detect(pilots: Pilots | None, y: Any, noise: Any) -> Detection:
            if pilots is None:
                return self._detect(y, noise)
            first = self._names[0] if self._names else self._arguments["prior"]
            others = Receiver(**(self._arguments | {"pilots": pilots, "prior": first, "compensate": False}))
            return others._detect(y, noise)

        best = compensated(y, noise, found, self.pilots, self.prior, detect)
        if best is found or best.reason or self._images.none:
            return best
        doubt = self._images.doubt(best.active, lambda i: best.channels[i])
        return dataclasses.replace(best, reason=doubt)

    def _best(self, found: Detection, y: Any, noise: Any) -> Detection:
        """The result, or with ``prior="auto"`` that of a prior that fits better."""

        def detect(name: str) -> Detection:
            if name not in self._fallbacks:
                closed = {} if name.startswith("cdl") else {"network": "auto"}  # others have no network
                self._fallbacks[name] = Receiver(**(self._arguments | {"prior": name} | closed))
            return self._fallbacks[name]._detect(y, noise)

        if not self._names:
            return found
        return best_of(self._names, found, detect, shape=self._shape, claimed=self._claimed)

    @functools.cached_property
    def _pilot_power(self) -> npt.NDArray[np.float64]:
        """Mean power of every device's pilot."""
        return (
            np.square(_core.amplitudes(self.pilots.select()))
            if self.pilots.rows is None
            else np.full(self.pilots.devices, self.pilots.power)
        )

    def _claimed(self, found: Detection) -> float:
        """Sum over the devices of a result of the variance that their estimates leave in every entry of the block."""
        return float(self._pilot_power[self._on_host(found.active)] @ self._on_host(found.channel_var))

    def _detect(self, y: Any, noise: Any) -> Detection:
        """Detect with this receiver's first prior."""
        if noise is None:
            block = _check.array("y", y if self.gpu is None else self._on_host(y), self._shape, np.complex64)
            found = learn_noise(functools.partial(self._detect_in, y), block, self.pilots, self.rules, self._on_host)
        else:
            found = self._detect_in(y, noise)
        return found if self.gpu is None else self._with_rate(found)

    def _with_rate(self, found: Detection) -> Detection:
        """A GPU's result with the rate of activity, if it was learned."""
        if self.activity_rate is not None:
            return found
        return dataclasses.replace(found, learned_rate=float(found.activity.mean()))

    def _on_host(self, array: Any) -> npt.NDArray[Any]:
        if self.gpu is None or isinstance(array, np.ndarray):
            return np.asarray(array)
        import torch

        return np.asarray(torch.as_tensor(array).cpu())

    def _detect_in(self, y: Any, noise: Any) -> Detection:
        """Detect in noise of this variance or covariance."""
        if self.gpu is not None:
            return self.gpu.detect(y, noise)  # type: ignore[no-any-return]
        if self._parts is not None:
            block = self._seen(_check.array("y", y, self._shape, np.complex64))
            return self._results.of_planned(self._parts.detect(block, one_variance(noise, _PARTS)))
        block = self._seen(_check.array("y", y, self._shape, np.complex64, finite=False))
        var, covariance = self._native_noise(noise)
        result = self._native.detect(block, var, covariance)
        if not math.isfinite(result["noise_var"]):  # the block's power, which costs nothing to look at
            _check.array("y", y, self._shape, np.complex64)
            _check.array("y, over beams", block, self._shape, np.complex64)
        return self._results.of_loop(result, var)

    def _seen(self, block: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
        """The block as the native loop takes it: antennas of a row, or beams of an array of several."""
        return block if self._array.stride == 1 else self._array.beams(block)

    def _native_noise(self, noise: Any) -> tuple[float, _core.NoiseCovariance]:
        if isinstance(noise, float):
            return noise, _core.NoiseCovariance()
        if self._array.stride > 1:
            noise = self._array.covariance_of_beams(noise)
        var, tables = over_beams(noise, self._plan.gram, beamspace=self.prior.beamspace)
        return var, _core.NoiseCovariance(**tables)

    def stream(self, noise_var: Any, *, deadline: float | None = None, wait: bool = True) -> Stream:
        """Detect in blocks whose symbols arrive a few at a time; for receivers with one prior.

        Parameters
        ----------
        noise_var : float or array_like
            As for :meth:`detect`, of all blocks. Symbols and results are NumPy's on a GPU too.
        deadline : float, optional
            Microseconds after a block's last symbol at which its result is wanted. When another iteration would not
            end before, the best state so far is the result, and ``Detection.stopped_because`` is "deadline"; one
            iteration is made in any case.
        wait : bool
            Whether a block that is complete waits for the detections before it, and :meth:`Stream.push` with it. If
            not, a block is dropped and counted where another one still waits for the detection before it.

        Returns
        -------
        Stream

        Raises
        ------
        ValueError, TypeError
            If an argument is out of range; if the receiver chooses among priors, or is of pilots that leave subcarriers
            out or repeat.
        """
        if self._names:
            raise ValueError("prior: expected one for a stream, found 'auto'")
        if self.compensate:
            raise ValueError("compensate: expected False for a stream, found True")
        if self._parts is not None:
            raise ValueError("pilots: expected such as sound all subcarriers for a stream, without repetition")
        if not isinstance(wait, (bool, np.bool_)):
            raise TypeError(f"wait: expected True or False, found {wait!r}")
        if noise_var is None:
            raise TypeError("noise_var: expected a variance or covariance for a stream, found None")
        late = math.inf if deadline is None else _check.real("deadline", deadline)
        noise = noise_covariance(noise_var, *self._shape[1:])
        if self.gpu is not None:
            from .cuda.stream import CudaSource

            return Stream(CudaSource(self.gpu, self._shape, self._with_rate, noise, late), self._shape, late, wait)
        var, covariance = self._native_noise(noise)

        def detection(result: dict[str, Any]) -> Detection:
            return self._results.of_loop(result, var)

        source = NativeSource(self._native, detection, (var, covariance), late, self._seen)
        return Stream(source, self._shape, late, wait)

    def detect_many(self, ys: Iterable[npt.ArrayLike], noise_var: Any = None) -> list[Detection]:
        """Detect in several independent blocks; on a GPU `batch` of them at once if they are one array.

        Parameters
        ----------
        ys : array_like, shape (B, T, N, M), or iterable of blocks (T, N, M)
            As for :meth:`detect`.
        noise_var : float or array_like, optional
            As for :meth:`detect`, of all blocks; if it is learned, of each.

        Returns
        -------
        list of Detection
            One a block.

        Raises
        ------
        ValueError, TypeError
            As :meth:`detect`.
        """
        if self.gpu is None or not hasattr(ys, "ndim") or noise_var is None or self.activity_rate is None:
            return [self.detect(y, noise_var) for y in _check.blocks(ys)]
        noise = noise_covariance(noise_var, *self._shape[1:])
        found = self.gpu.detect_many(ys, noise)
        return [self._best(one, y, noise) for one, y in zip(found, ys, strict=True)]

    def seconds(self) -> dict[str, float]:
        """Time that the parts of the last detection took, all iterations together; for receivers on the CPU.

        Raises
        ------
        ValueError
            If the receiver is on a GPU, whose kernels a profiler sees.
        """
        if self.gpu is not None:
            raise ValueError("device: expected a receiver on the CPU, found one planned on a GPU")
        return self._native.seconds() if self._parts is None else self._parts.seconds()

    def enqueue(self, y: Any, noise_var: Any, *, deadline: float | None = None) -> Enqueued:
        """Put a detection on torch's current stream and return at once; for receivers on a GPU.

        With ``prior="auto"`` the first of its priors works alone: whether it fits is known only afterwards.

        Parameters
        ----------
        y : array, shape (T, N, M) or (B, T, N, M)
            As for :meth:`detect`, at most `batch` blocks. Do not change it before the detection has ended.
        noise_var : float or array_like
            As for :meth:`detect`. The first one that is not white, and another covariance than that of the detection
            before, are planned with, which takes time and waits.
        deadline : float, optional
            Microseconds from the beginning of the detection on the GPU to the time when the result is wanted: as for
            :meth:`stream`.

        Returns
        -------
        Enqueued
            Results of fixed size on the device, overwritten by the receiver's next detection.

        Raises
        ------
        ValueError, TypeError
            As :meth:`detect`, but that numbers that are not finite show in the result; if the receiver is not on a GPU.
        """
        if self.gpu is None:
            raise ValueError("device: expected a receiver planned on a GPU, found one on the CPU; use detect()")
        late = math.inf if deadline is None else _check.real("deadline", deadline)
        pending: Enqueued = self.gpu.enqueue(y, noise_covariance(noise_var, *self._shape[1:]), late)
        return pending


def _resolve(prior: Any, subcarriers: int) -> Any:
    if isinstance(prior, (str, os.PathLike)):
        from .priors.files import resolve_prior

        prior = resolve_prior(prior, subcarriers)
    return check_prior(prior, subcarriers)
