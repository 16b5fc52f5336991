"""Types of the native module (csrc/bindings.cpp)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_Complex = npt.NDArray[np.complex64]
_Float = npt.NDArray[np.float32]

__version__: str
compiler: str
cuda_built: bool

def isa() -> str: ...
def mean_square(y: _Complex) -> float: ...
def variants() -> list[str]: ...
def cuda_devices() -> tuple[int, str]: ...
def cuda_gather(
    r: int,
    rows: int,
    twiddle: int,
    array: int,
    basis: int,
    slot: int,
    s: int,
    device: int,
    count: int,
    capacity: int,
    devices: int,
    subcarriers: int,
    symbols: int,
    antennas: int,
    coefficients: int,
    z: int,
    stream: int,
) -> None: ...
def activity_llr(
    plan: ActivityPlan, energy: _Float, null: _Float, out: _Float, threads: int, isa: str | None = ...
) -> None: ...

class ActivityPlan:
    def __init__(
        self,
        *,
        product: _Float,
        weight: _Float,
        log_power_weight: _Float,
        index: npt.NDArray[np.int32],
        eigenvalue: _Float,
        multiplicity: _Float,
    ) -> None: ...

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

class BeamNetwork:
    def __init__(
        self,
        *,
        subcarriers: int,
        width: int,
        hidden: int,
        taps: int,
        dilation: Sequence[int],
        eigenvalue: _Float,
        layers: Sequence[tuple[_Float, _Float]],
    ) -> None: ...

class Receiver:
    def __init__(
        self,
        *,
        transform: Transform,
        activity: ActivityPlan,
        gram: Sequence[float],
        rotation: _Complex | None,
        capacity: int,
        network: BeamNetwork | None,
    ) -> None: ...
    def start(self, y: _Complex, scale: float, noise: float, predicted: bool) -> None: ...
    def observe(self) -> float: ...
    def screen(self, log_odds: float, threshold: float, everyone: bool) -> int: ...
    def hold(self) -> int: ...
    def gather(self) -> None: ...
    def gaussian(self) -> None: ...
    def network(self) -> None: ...
    def update(self, gamma: float, caution: float) -> None: ...
    def keep(self) -> None: ...
    def decide(self) -> int: ...
    def channels(self, channel: _Complex, var: _Float) -> None: ...
    def decided(self, count: int) -> npt.NDArray[np.int32]: ...
    @property
    def settled(self) -> bool: ...
    @property
    def residual_var(self) -> float: ...
    @property
    def devices(self) -> npt.NDArray[np.int32]: ...
    @property
    def z(self) -> _Float: ...
    @property
    def noise(self) -> _Float: ...
    @property
    def mean(self) -> _Float: ...
    @property
    def var(self) -> _Float: ...
    @property
    def kept_posterior(self) -> _Float: ...
