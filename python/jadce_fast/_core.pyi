"""Types of the native module on the CPU (csrc/bindings); cuda/native.py has those of the CUDA kernels."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from .anneal import Level

_Complex = npt.NDArray[np.complex64]
_Float = npt.NDArray[np.float32]

__version__: str
compiler: str

def isa() -> str: ...
def fast_bf16() -> bool: ...
def variants() -> list[str]: ...

first_rate: float

def rotate_pilots(pilots: _Complex, threads: int) -> tuple[_Float, _Complex, _Complex]: ...
def amplitudes(pilots: _Complex) -> npt.NDArray[np.float64]: ...
def merged(eigenvalue: _Float) -> int: ...
def power_levels(*, flat: bool, antennas: int) -> npt.NDArray[Any]: ...
def activity_tables(
    *, eigenvalue: _Float, gain: _Float, weight: _Float, power: _Float, share: _Float, multiplicity: _Float
) -> dict[str, npt.NDArray[Any]]: ...
def receiver_tables(
    *,
    eigenvalue: _Float,
    gain: _Float,
    weight: _Float,
    amplitude: npt.NDArray[np.float64],
    antennas: int,
    known_power: bool,
) -> dict[str, npt.NDArray[Any]]: ...
def most_candidates(*, rules: Any, rate: float, devices: int, asked: int) -> int: ...
def assumed(*, rate: float, power: float, amplitude: npt.NDArray[np.float64]) -> dict[str, float]: ...
def activity_llr(
    plan: ActivityPlan, energy: _Float, null: _Float, out: _Float, threads: int, isa: str | None = ...
) -> None: ...

class ActivityPlan:
    tables: dict[str, npt.NDArray[Any]]  # set by ops.activity_plan
    on_device: dict[Any, Any]  # the same on GPUs
    def __init__(
        self,
        *,
        product: _Float,
        weight: _Float,
        log_power_weight: _Float,
        index: npt.NDArray[np.int32],
        eigenvalue: _Float,
        multiplicity: _Float,
        power: _Float,
    ) -> None: ...

class Repeated:
    def __init__(
        self,
        *,
        pilots: npt.NDArray[np.complex128],
        activity: ActivityPlan,
        antennas: int,
        capacity: int,
        rules: Any,
        rate: float,
        threads: int,
        isa: str | None = ...,
    ) -> None: ...
    @property
    def threads(self) -> int: ...
    def detect(self, y: _Complex, *, noise: float, received: float, entries: int) -> dict[str, Any]: ...

class Transform:
    def __init__(
        self,
        *,
        rows: npt.NDArray[np.int32] | None,
        array: _Complex | None,
        amplitude: float,
        basis: _Complex,
        devices: int,
        antennas: int,
        merge: int,
        beamspace: bool,
        threads: int,
        isa: str | None = ...,
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def beamspace(self, y: _Complex) -> _Complex: ...
    def statistics(self, r: _Complex, out: _Complex) -> None: ...
    def energies(self, r: _Complex, out: _Float) -> None: ...
    def gather(self, r: _Complex, devices: npt.NDArray[np.int64], out: _Complex) -> None: ...
    def project(self, devices: npt.NDArray[np.int64], coefficients: _Complex, out: _Complex) -> None: ...

class Langevin:
    def __init__(
        self, *, rotation: _Complex, singular: _Float, antennas: int, chains: int, threads: int, isa: str | None = ...
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    def plan(self, levels: Sequence[Level]) -> None: ...
    def block(self, force: _Complex) -> None: ...
    def start(self, chains: Sequence[int], seed: int, step: int, sigma: float) -> None: ...
    def anneal(
        self,
        *,
        chains: Sequence[int],
        seed: int,
        step: int,
        steps: int,
        level: int,
        noise_var: float,
        mixture: _Float,
        accumulate: bool,
    ) -> None: ...
    def step(self, *, chains: Sequence[int], seed: int, step: int, level: int, noise_var: float) -> None: ...
    def denoise(self, chains: Sequence[int], noise_var: float, mixture: _Float) -> None: ...
    def power(self, chains: Sequence[int]) -> list[float]: ...
    def spread(self, chains: Sequence[int]) -> float: ...
    def matrices(self, level: int) -> _Float: ...
    @property
    def counted(self) -> npt.NDArray[np.int32]: ...
    @property
    def columns(self) -> _Float: ...
    @property
    def mean(self) -> _Float: ...
    @property
    def variance(self) -> _Float: ...
    @property
    def probability(self) -> _Float: ...
    @property
    def sums(self) -> _Float: ...
    @property
    def sum_energy(self) -> _Float: ...
    @property
    def sum_active(self) -> _Float: ...

def explained_remainder(*, rules: Rules, taken: float, errors: float, excess: float) -> tuple[float, float]: ...

class Rules:
    """A number a constant; jadce_fast.rules.Rules names and explains them."""

    def __init__(self, **constants: float) -> None: ...

class BeamNetwork:
    def __init__(
        self,
        *,
        subcarriers: int,
        taps: int,
        dilation: Sequence[int],
        eigenvalue: _Float,
        layers: Sequence[tuple[_Float, _Float]],
        bf16: bool,
    ) -> None: ...
    def denoise(self, z: _Complex, noise_var: _Float, isa: str | None = ...) -> tuple[_Complex, _Float]: ...

class NoiseCovariance:
    @overload
    def __init__(self) -> None: ...
    @overload
    def __init__(self, *, covariance: _Complex, inverse: _Complex, unmix: _Float, level: _Float) -> None: ...

class Arrivals:
    def push(self, y: _Complex, wait: bool) -> None: ...
    def close(self) -> None: ...
    def counts(self) -> tuple[int, int, int]: ...

class Receiver:
    def __init__(
        self,
        *,
        transform: Transform,
        activity: ActivityPlan,
        gram: _Float,
        rotation: _Complex | None,
        amplitude: npt.NDArray[np.float64],
        capacity: int,
        rules: Rules,
        log_odds: float,
        learn_rate: bool,
        power: float,
        expected: float,
        denoisers: tuple[
            BeamNetwork | Callable[[_Complex, _Float, npt.NDArray[np.int64]], tuple[_Complex, _Float]] | None, ...
        ],
    ) -> None: ...
    def detect(self, y: _Complex, noise_var: float, covariance: NoiseCovariance) -> dict[str, Any]: ...
    def arrivals(self) -> Arrivals: ...
    def next(
        self, arrivals: Arrivals, noise_var: float, covariance: NoiseCovariance, deadline: float
    ) -> dict[str, Any] | None: ...
    def seconds(self) -> dict[str, float]: ...
