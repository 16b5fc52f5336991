"""Training of a beam network on the randomised family, on a CPU or a GPU."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import _check
from ..network import BeamNetwork
from ..prior import save_prior
from . import evaluate, family, mixture

KEPT = 12  # KLT coefficients: on CDL-A...D at delay spreads of 100-363 ns all but -52 dB of the energy
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 40, "hidden": 80, "blocks": 4, "taps": 7, "dilations": (1, 2)},
    "base": {"width": 64, "hidden": 128, "blocks": 4, "taps": 7, "dilations": (1, 2)},
    "large": {"width": 96, "hidden": 192, "blocks": 8, "taps": 7, "dilations": (1, 2)},
}


def noise_maps(count: int, antennas: int, generator: torch.Generator) -> Tensor:
    """Noise variances per beam [count, M]: SNR -16...36 dB, times a random smooth profile, a quarter flat.

    A receiver's effective noise is made of other devices' errors and differs 10:1 and more between beams.
    """
    device = generator.device
    level, reach, depth, flat = torch.rand(4, count, 1, generator=generator, device=device)
    lag = torch.fft.fftfreq(antennas, 1 / antennas, device=device)
    window = torch.exp(-0.5 * (lag / (1 + 6 * reach)) ** 2)
    white = torch.randn(count, antennas, generator=generator, device=device)
    smooth = torch.fft.ifft(torch.fft.fft(white) * window).real
    smooth = smooth / smooth.std(1, keepdim=True)
    profile = torch.exp(smooth * torch.where(flat < 0.25, 0.0, 1.2 * depth))
    return (10 ** (1.6 - 5.2 * level) * profile / profile.mean(1, keepdim=True)).clamp(3e-5, 3e2)


def symmetries(
    count: int, antennas: int, generator: torch.Generator, *, narrow: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Random circular shift, mirror image, phase and gain (0.5 dB rms) of channels in beamspace.

    A `narrow` family, one table as it stands, has neither of the first two symmetries.

    Returns the beam that each beam is read from, [count, 1, M], and its factor's real and imaginary part.
    """
    device = generator.device
    phase, shift, mirror = torch.rand(3, count, 1, 1, generator=generator, device=device)
    if narrow:
        shift, mirror = torch.zeros_like(shift), torch.ones_like(mirror)
    gain = 10 ** (0.025 * torch.randn(count, 1, 1, generator=generator, device=device))
    beam = torch.arange(antennas, device=device)
    flip = mirror < 0.5
    # Antennas in reverse order: beam -b, and one antenna's phase ramp because the array does not wrap around.
    source = (torch.where(flip, -beam, beam) + (shift * antennas).long()) % antennas
    turn = 2 * math.pi * (phase + torch.where(flip, -source / antennas, 0.0))
    return source, gain * turn.cos(), gain * turn.sin()


def losses(
    mean: Tensor, var: Tensor, truth: Tensor, v: Tensor, eigenvalues: Tensor, subcarriers: int
) -> tuple[Tensor, Tensor]:
    """Loss of the mean, the error per beam in units of the population Wiener error, and of the variance.

    The latter, log s + e / s with the mean's error e held fixed, is least where s is the expected error.
    """
    lam, noise = eigenvalues[None, :, None], v[:, None, :]
    unit = (lam * noise / (lam + noise)).sum(1)
    error = (mean - truth).square().sum(1) / unit
    spread = var * subcarriers / unit
    return error.mean(), (spread.log() + error.detach() / spread).mean()


class Pool:
    """Channels to train on, in KLT coordinates [size, 2 P, M], of which `refresh` replaces the oldest."""

    def __init__(
        self, basis: Tensor, size: int, generator: torch.Generator, table: str | None = None, chunk: int = 4096
    ) -> None:
        self.table = table
        self.device = generator.device
        self.tables = family.load_tables(self.device)
        self.basis, self.generator = basis.to(self.device), generator
        self.size, self.chunk, self.next = size, min(size, chunk), 0
        self.data = torch.empty(size, 2 * basis.shape[1], family.ANTENNAS, device=self.device)
        for _ in range(-(-size // self.chunk)):
            self.refresh()

    def refresh(self) -> None:
        """Replace one chunk by new channels."""
        paths = family.draw_paths(self.tables, self.chunk, self.generator, self.table)
        fresh = evaluate.split(self.basis.mH @ family.channels(paths, self.generator))
        count = min(self.chunk, self.size - self.next)
        self.data[self.next : self.next + count] = fresh[:count]
        self.next = (self.next + count) % self.size


class Trainer:
    """Network, its moving average, optimiser and channels; `step` is one update, on CUDA one graph launch."""

    def __init__(
        self,
        network: BeamNetwork,
        basis: Tensor,
        *,
        seed: int,
        device: str,
        batch: int,
        pool: int,
        average: float,
        table: str | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.network = network.to(self.device).train()
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.momentum, self.batch, self.count = average, batch, 0
        self.fresh = torch.tensor(1.0, device=self.device)  # the weight of the newest network in the average
        self.pool = Pool(basis, pool, self.generator, table)
        cuda = self.device.type == "cuda"
        self.rate = torch.tensor(1e-3, device=self.device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), self.rate, (0.9, 0.99), capturable=cuda)
        self.objective = torch.compile(self._objective, dynamic=False) if cuda else self._objective
        self.loss = torch.zeros(2, device=self.device)
        self.graph: Any = None

    def _objective(
        self, z: Tensor, source: Tensor, real: Tensor, imag: Tensor, v: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        z = z.gather(2, source.expand_as(z))
        a, b = z.chunk(2, 1)
        truth = torch.cat([a * real - b * imag, a * imag + b * real], 1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            mean, var = self.network(truth + noise * (0.5 * v[:, None]).sqrt(), v)
        return losses(mean, var, truth, v, self.network.eigenvalues, self.network.subcarriers)

    def _update(self) -> None:
        index = torch.randint(self.pool.size, (self.batch,), generator=self.generator, device=self.device)
        z = self.pool.data[index]
        noise = torch.randn(z.shape, generator=self.generator, device=self.device)
        v = noise_maps(self.batch, z.shape[2], self.generator)
        turned = symmetries(self.batch, z.shape[2], self.generator, narrow=self.pool.table is not None)
        fit, spread = self.objective(z, *turned, v, noise)
        (fit + 0.1 * spread).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=False)
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weight, self.fresh)
        self.loss.copy_(torch.stack([fit.detach(), spread.detach()]))

    def step(self, rate: float) -> None:
        """One update at learning rate `rate`."""
        self.rate.fill_(rate)
        self.fresh.fill_(max(1 - self.momentum, 9 / (10 + self.count)))
        if self.device.type != "cuda" or self.count < 5:
            self._update()
        else:
            if self.graph is None:
                self.graph = torch.cuda.CUDAGraph()
                self.graph.register_generator_state(self.generator)
                with torch.cuda.graph(self.graph):
                    self._update()
            self.graph.replay()
        self.count += 1

    def save(self, path: Path, elapsed: float) -> None:
        """Write a checkpoint atomically."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "count": self.count,
            "elapsed": elapsed,
        }
        part = path.with_name(path.name + ".part")
        torch.save(state, part)
        os.replace(part, path)

    def resume(self, path: Path) -> float:
        """Take up a checkpoint of the same network; returns the seconds trained so far."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        self.count = int(state["count"])
        self.generator.manual_seed(self.generator.initial_seed() + self.count)  # not the old channels again
        return float(state["elapsed"])


def train(
    out: str | os.PathLike[str],
    *,
    size: str = "base",
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    batch: int | None = None,
    pool: int | None = None,
    table: str | None = None,
    rate: float = 4e-3,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train a network and write it as a prior.

    Every half minute, until the prior is written, a checkpoint is kept beside `out` (``OUT.checkpoint``).
    Where there is one, training goes on from it.

    Parameters
    ----------
    out : path
        The ``.safetensors`` file to write.
    size : {"tiny", "base", "large"}
        Architecture, see `SIZES`.
    minutes : float
        Training time, over which the learning rate falls to zero.
    steps : int, optional
        Number of updates instead of a time.
    seed : int
        Of everything random. With `steps` a run on one CPU is reproducible.
    device : str
        A torch device.
    batch, pool : int, optional
        Channels of an update; channels kept to draw from. Defaults fit a CPU or a large GPU.
    table : {"A", "B", "C", "D", "E"}, optional
        Train on this table as it stands, both conventions of angles, instead of the randomised family.
    rate : float
        Highest learning rate.
    report : callable
        Takes lines of progress.

    Returns
    -------
    dict
        ``loss`` (first and last), ``steps``, ``seconds`` and ``curve``.

    Raises
    ------
    ValueError, TypeError
        For an unknown size or table, or a time or number of updates that is not positive.
    RuntimeError
        If the loss becomes infinite or NaN.
    """
    if size not in SIZES:
        raise ValueError(f"size: expected one of {', '.join(SIZES)}, found {size!r}")
    if table is not None and table not in list(family.TABLES):
        raise ValueError(f"table: expected one of {', '.join(family.TABLES)}, found {table!r}")
    minutes = _check.real("minutes", minutes)
    steps = None if steps is None else _check.integer("steps", steps, 1)
    cuda = torch.device(device).type == "cuda"
    out, checkpoint = Path(out), Path(f"{os.fspath(out)}.checkpoint")
    torch.manual_seed(seed)
    tables = family.load_tables(torch.device(device))
    generator = torch.Generator(device).manual_seed(seed)
    basis, eigenvalues = family.klt(tables, generator, 400_000 if cuda else 20_000)
    basis, eigenvalues = basis[:, :KEPT].contiguous(), eigenvalues[:KEPT]
    network = BeamNetwork(eigenvalues, family.SUBCARRIERS, **SIZES[size])
    trainer = Trainer(
        network,
        basis,
        seed=seed + 1,
        device=device,
        batch=batch or (4096 if cuda else 64),
        pool=pool or (2**20 if cuda else 4096),
        average=0.999,
        table=table,
    )
    before = trainer.resume(checkpoint) if checkpoint.exists() else 0.0
    start, saved, first, mark = time.perf_counter(), 0.0, math.nan, 0.0
    report(f"{size}: {network.multiplications(family.ANTENNAS) / 1e6:.2f} million multiplications a device")
    warm_up = min(500, steps // 10 + 1) if steps else 500
    while True:
        if cuda and trainer.count % 32 == 0:
            torch.cuda.synchronize()  # the clock below must not run ahead of the GPU
        elapsed = before + time.perf_counter() - start
        done = trainer.count / steps if steps else elapsed / (60 * minutes)
        if done >= 1:
            break
        trainer.step(rate * min(1.0, (trainer.count + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * done)))
        if trainer.count % (16 if cuda else 64) == 0:
            trainer.pool.refresh()
        if math.isnan(first):
            first = float(trainer.loss[0])
        if elapsed - saved > 30:
            trainer.save(checkpoint, elapsed)
            saved = elapsed
        if done - mark > 0.125:
            mark = done
            quick = evaluate.curve(trainer.average, basis, count=128, with_genie=False)["C arrival"]["nmse"]
            fit, spread = trainer.loss.tolist()
            if not math.isfinite(fit + spread):
                raise RuntimeError(f"training diverged at step {trainer.count}: loss {fit}, {spread}")
            report(f"{elapsed:6.0f} s, step {trainer.count}: loss {fit:.4f} {spread:.3f}, CDL-C arrival {quick}")
    gain, weight = mixture.fit_beam_powers(tables, basis.to(device), eigenvalues, generator)
    final = trainer.average.eval()
    result = evaluate.curve(final, basis, count=256 if cuda else 32)
    report(evaluate.table(result))
    length = f"--steps {steps}" if steps else f"--minutes {minutes:g}"
    hardware = torch.cuda.get_device_name() if cuda else "CPU"
    metadata = {
        "name": f"CDL-{table} alone ({size})" if table else f"CDL-A...E, randomised ({size})",
        "license": "Apache-2.0",
        "recipe": f"python -m jadce_fast.training --size {size} {length} --seed {seed} --device {device}"
        + (f" --table {table}" if table else ""),
        "seed": seed,
        "steps": trainer.count,
        "batch": trainer.batch,
        "seconds": round(elapsed, 1),
        "hardware": f"{hardware}, torch {torch.__version__}",
        "snr_db": list(evaluate.SNR_DB),
        "curve": result,
    }
    save_prior(
        out,
        network=final.cpu(),
        basis=basis.numpy(),
        beam_gain=gain.numpy(),
        beam_weight=weight.numpy(),
        metadata=metadata,
    )
    checkpoint.unlink(missing_ok=True)
    return {
        "loss": (first, float(trainer.loss[0])),
        "steps": trainer.count,
        "seconds": elapsed,
        "curve": result,
    }
