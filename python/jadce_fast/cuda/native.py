"""Native modules with the CUDA kernels: `_cuda` on a GPU, and the emulator's `_emulated` on the CPU.

Launchers take the fields of their struct of arguments (csrc/kernels/*/*_cuda.hpp, with shapes), pointers as addresses.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Struct = Any  # a native struct, opaque here
Table = npt.NDArray[Any]


class Graph(Protocol):
    """A recorded graph, csrc/core/graph_cuda.hpp."""

    def begin(self) -> int: ...
    def open_loop(self) -> tuple[int, int]: ...
    def add_if(self, child: int) -> int: ...
    def close_loop(self) -> None: ...
    def end(self) -> None: ...
    def launch(self, stream: int) -> None: ...


class Native(Protocol):
    """The module."""

    control_dtype: np.dtype[np.void]
    no_loop: int
    langevin_spread_parts: int

    def devices(self) -> tuple[int, str]: ...
    def check_child(self, child: int) -> None: ...
    def Graph(self, *, overlapping: bool) -> Graph: ...

    def Rules(self, **constants: float) -> Struct: ...

    def langevin_tile(self, devices: int, antennas: int) -> int: ...
    def fft_tables(self, length: int) -> tuple[Table, Table, Table, Table]: ...
    def fft_split(self, length: int) -> int: ...
    def pack_dense(self, weight: Table, bias: Table) -> Table: ...
    def pack_depthwise(self, weight: Table, bias: Table) -> Table: ...
    def pack_dense_tensor(self, weight: Table, bias: Table) -> Table: ...
    def pack_depthwise_tensor(self, weight: Table, bias: Table) -> Table: ...
    def beam_network_fits(self, *, shape: Struct, coefficients: int, antennas: int) -> bool: ...
    def beam_network_tensor_fits(self, *, shape: Struct, coefficients: int, antennas: int) -> bool: ...

    def Sizes(
        self, *, devices: int, subcarriers: int, symbols: int, antennas: int, coefficients: int, batch: int
    ) -> Struct: ...
    def PilotTables(self, *, rows: int = ..., twiddle: int = ..., array: int = ...) -> Struct: ...
    def FftTables(self, *, twiddle: int, root: int, chirp: int = ..., chirp_dft: int = ...) -> Struct: ...
    def RowOrder(self, *, start: int, measurements: int) -> Struct: ...
    def SparseParts(self, *, slot: int = ..., s: int = ..., slots: int = ...) -> Struct: ...
    def StatisticsOutput(self, *, z: int = ..., energy: int = ..., merge: int) -> Struct: ...
    def NetworkShape(self, *, width: int, hidden: int, blocks: int, taps: int) -> Struct: ...
    def Energies(self, *, energy: int, rows: int, merge: int, devices: int, antennas: int, batch: int) -> Struct: ...
    def ActivityView(
        self,
        *,
        gains: int,
        powers: int,
        products: int,
        product: int,
        weight: int,
        log_power_weight: int,
        power: int,
        index: int,
        eigenvalue: int,
        multiplicity: int,
    ) -> Struct: ...
    def Candidates(self, *, posterior: int, power: int, mean: int, var: int, device: int) -> Struct: ...
    def KeptOutput(self, *, device: int, posterior: int, var: int, mean: int) -> Struct: ...

    def gather(
        self,
        *,
        r: int,
        pilots: Struct,
        basis: int = ...,
        parts: Struct = ...,
        device: int,
        count: int = ...,
        enabled: int = ...,
        v_b: int = ...,
        mean_v: int = ...,
        known: bool,
        rules: Struct = ...,
        capacity: int,
        sizes: Struct,
        z: int = ...,
        power: int = ...,
        noise: int = ...,
        mean: int = ...,
        var: int = ...,
        stream: int,
    ) -> None: ...
    def spectral(
        self,
        *,
        r: int,
        rows: Struct,
        amplitude: float,
        fft: Struct,
        basis: int = ...,
        parts: Struct = ...,
        enabled: int = ...,
        sizes: Struct,
        idle: int = ...,
        out: Struct,
        idle_energy: int = ...,
        stream: int,
    ) -> None: ...
    def spectral_large(
        self,
        *,
        r: int,
        rows: Struct,
        twiddle: int,
        first: int,
        first_fft: Struct,
        second_fft: Struct,
        basis: int = ...,
        parts: Struct = ...,
        enabled: int = ...,
        sizes: Struct,
        work: int,
        out: Struct,
        stream: int,
    ) -> None: ...
    def direct(
        self,
        *,
        r: int,
        pilots: Struct,
        basis: int = ...,
        parts: Struct = ...,
        enabled: int = ...,
        sizes: Struct,
        out: Struct,
        stream: int,
    ) -> None: ...
    def residual(
        self,
        *,
        y: int = ...,
        scale: int = ...,
        gram: int = ...,
        r_pri: int = ...,
        pilots: Struct,
        basis: int = ...,
        s: int,
        device: int,
        count: int = ...,
        enabled: int = ...,
        capacity: int,
        sizes: Struct,
        r: int,
        power: int,
        stream: int,
    ) -> None: ...
    def activity_table(
        self,
        *,
        energies: Struct,
        sums: int = ...,
        idle: int = ...,
        idle_count: int = ...,
        v: int = ...,
        mixture: Struct,
        enabled: int = ...,
        rules: Struct = ...,
        null: int,
        slope: int,
        offset: int,
        stream: int,
    ) -> None: ...
    def activity(
        self,
        *,
        energies: Struct,
        slope: int,
        offset: int,
        mixture: Struct,
        enabled: int = ...,
        control: int = ...,
        log_odds: float,
        rules: Struct = ...,
        llr: int,
        posterior: int,
        idle: int,
        stream: int,
    ) -> None: ...
    def select_candidates(
        self,
        *,
        control: int,
        llr: int,
        posterior: int,
        idle: int,
        rules: Struct,
        devices: int,
        capacity: int,
        slots: int,
        batch: int,
        device: int,
        chosen: int,
        free: int,
        slot: int,
        support: int,
        place: int,
        remaining: int,
        loop: int,
        stream: int,
    ) -> None: ...
    def module_a(
        self,
        *,
        control: int,
        power: int,
        gram: int,
        r_pri: int,
        r: int,
        mean_gram: float,
        uniform: bool,
        rules: Struct,
        sizes: Struct,
        v_a: int,
        eta: int,
        v_b: int,
        r_b: int,
        history: int,
        stream: int,
    ) -> None: ...
    def update(
        self,
        *,
        control: int,
        candidates: Struct,
        v_b: int,
        posterior: int,
        r_b: int,
        place: int,
        rules: Struct,
        capacity: int,
        slots: int,
        sizes: Struct,
        v_a: int,
        slot: int,
        support: int,
        s: int,
        r_pri: int,
        kept: Struct,
        activity: int,
        history: int,
        stream: int,
    ) -> None: ...
    def beam_network(
        self,
        *,
        z: int,
        noise: int,
        eigenvalue: int,
        weights: int,
        dilation: int,
        shape: Struct,
        count: int = ...,
        enabled: int = ...,
        step: int,
        capacity: int,
        sizes: Struct,
        mean: int,
        var: int,
        stream: int,
    ) -> None: ...
    def beam_network_tensor(
        self,
        *,
        z: int,
        noise: int,
        eigenvalue: int,
        weights: int,
        dilation: int,
        shape: Struct,
        count: int = ...,
        enabled: int = ...,
        step: int,
        capacity: int,
        sizes: Struct,
        mean: int,
        var: int,
        stream: int,
    ) -> None: ...
    def set_input(self, *, y: int, noise_var: float, blocks: int, input: int, stream: int) -> None: ...
    def beamspace(
        self,
        *,
        input: int,
        dft: int = ...,
        rotation: int = ...,
        sizes: Struct,
        y: int,
        scratch: int = ...,
        power: int,
        stream: int,
    ) -> None: ...
    def begin(
        self,
        *,
        input: int,
        power: int,
        rules: Struct,
        known: float,
        expected: float,
        sizes: Struct,
        slots: int,
        control: int,
        slot: int,
        support: int,
        s: int,
        r_pri: int,
        idle: int,
        activity: int,
        remaining: int,
        stream: int,
    ) -> None: ...
    def choose(
        self, *, control: int, conditions: int, count: int, chunk: int, capacity: int, batch: int, stream: int
    ) -> None: ...
    def decide(
        self,
        *,
        control: int,
        kept: Struct,
        rules: Struct,
        capacity: int,
        batch: int,
        device: int,
        index: int,
        stream: int,
    ) -> None: ...
    def finish(
        self,
        *,
        control: int,
        power: int,
        kept: Struct,
        index: int,
        basis: int = ...,
        dft: int = ...,
        gain: int,
        rules: Struct = ...,
        sizes: Struct,
        capacity: int,
        active: int,
        channels: int,
        channel_var: int,
        activity: int,
        stream: int,
    ) -> None: ...
    def langevin_steps(
        self,
        *,
        matrix: int = ...,
        factor: int = ...,
        force: int = ...,
        level: int,
        mixture: int = ...,
        mean: int = ...,
        chain: int,
        rows: int,
        chains: int,
        devices: int,
        antennas: int,
        components: int,
        denoised: bool,
        seed: int,
        step: int,
        steps: int,
        x: int,
        energy: int,
        other_x: int,
        other_energy: int,
        stream: int,
    ) -> None: ...
    def langevin_posterior(
        self,
        *,
        x: int,
        energy: int,
        level: int,
        mixture: int,
        chain: int,
        rows: int,
        chains: int,
        devices: int,
        antennas: int,
        components: int,
        mean: int,
        power: int,
        probability: int,
        stream: int,
    ) -> None: ...
    def langevin_watch(
        self,
        *,
        x: int,
        energy: int,
        bound: int,
        before: int,
        blocks: int,
        chains: int,
        devices: int,
        antennas: int,
        after: int,
        spread: int,
        stream: int,
    ) -> None: ...
    def langevin_noise(
        self, *, seed: int, chain: int, step: int, count: int, pairs: int, words: int, normals: int, stream: int
    ) -> None: ...
