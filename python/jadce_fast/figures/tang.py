"""What the figures of docs/langevin-results.md measure: operating points, receivers, and what receivers believe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..campaigns.cell_drop import CellScenario, moved
from ..campaigns.cell_receivers import ALGORITHM_1, LMMSE, TMP
from ..priors.cell import CellPrior

TRAINING = CellPrior()
DENSITY = 0.75  # L / N where N varies


@dataclass(frozen=True)
class Curve:
    """One curve of a figure: NMSE and accuracy over SNR.

    Attributes
    ----------
    panel, label : str
    scenario : CellScenario
        Its SNR is that of each point.
    """

    panel: str
    label: str
    scenario: CellScenario


def curves(figure: str) -> list[Curve]:
    """Curves of a figure: "tang-5", "tang-6", "tang-density", "tang-shift" or "tang-impaired"."""
    base = CellScenario()
    if figure == "tang-5":
        return [Curve("", "", base)]
    if figure == "tang-6":
        many = [Curve("antennas", f"M = {m}", replace(base, antennas=m)) for m in (8, 16, 32, 64)]
        many += [
            Curve("devices", f"N = {n}", replace(base, devices=n, symbols=round(DENSITY * n))) for n in (32, 64, 128)
        ]
        return many + [Curve("active", f"K = {k}", replace(base, active=k)) for k in (2, 4, 8, 12)]
    if figure == "tang-density":
        return [Curve("", f"L/N = {n / 64:g}", replace(base, symbols=n)) for n in (16, 24, 32, 48, 64, 96)]
    if figure == "tang-shift":
        worlds = {
            "training distribution": base,
            "ring 100–400 m": replace(base, prior=moved(TRAINING, inner=100.0, outer=400.0)),
            "path-loss exponent 3.0": replace(base, prior=moved(TRAINING, exponent=3.0)),
            "shadowing 8 dB": replace(base, shadowing_db=8.0),
            "Rician, 10 dB": replace(base, rician_db=10.0),
            "correlated antennas, 0.9": replace(base, correlation=0.9),
            "twice as active": replace(base, prior=moved(TRAINING, activity_rate=0.2)),
        }
        return [Curve("", label, scenario) for label, scenario in worlds.items()]
    if figure == "tang-impaired":
        hard = {f"{bits} bit": replace(base, bits=bits) for bits in (1, 2, 3, 4)}
        hard |= {f"interference {x} dB": replace(base, interference_db=float(x)) for x in (0, 10, 20)}
        told = [Curve("told", label, scenario) for label, scenario in hard.items()]
        untold = [Curve("not told", c.label, replace(c.scenario, told=False)) for c in told]
        return [Curve("told", "none", base), *told, *untold]
    raise ValueError(f"figure: expected tang-5, tang-6, tang-density, tang-shift or tang-impaired, found {figure!r}")


def receivers(figure: str, priors: Sequence[str]) -> list[str]:
    """Receivers of a figure: the priors' and the baselines."""
    return [*priors, *((TMP, LMMSE, ALGORITHM_1) if figure == "tang-5" else (LMMSE,))]
