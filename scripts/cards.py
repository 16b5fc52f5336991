"""Write the model cards of the shipped priors from their metadata and the measurements in docs/data/denoising.

python scripts/cards.py, after python scripts/denoising.sh has measured them; the networks of a cell were measured when
they were trained.
"""

import csv
from pathlib import Path

import jadce_fast as jf
from jadce_fast.priors.cell_network import LEAST_ANTENNAS, LEAST_NOISE, MOST_ANTENNAS, MOST_NOISE
from jadce_fast.priors.files import shipped_cell_priors, shipped_priors
from jadce_fast.priors.ncsn import NcsnPrior

ROOT = Path(__file__).parent.parent
WEIGHTS, DATA = ROOT / "python/jadce_fast/priors/weights", ROOT / "docs/data/denoising"
CASES = ("C-arrival", "C-departure", "A-departure", "B-departure", "D-departure", "E-departure")

FAMILIES = {
    "C": "CDL-C alone, no jitter, both columns of base-station angles, random azimuth, delay spread 100-363 ns",
    "cdl": "CDL-A...E, both columns of base-station angles, random azimuth, jittered delays, powers, angles and "
    "spreads; delay spread 100-363 ns with a tail of 30-600 ns",
    "wide": "CDL-A...E and tables of no model, both columns of base-station angles, random azimuth; delay spread "
    "30-1000 ns, cluster spreads 2-17 degrees, Rician factors 0-22 dB",
}
LIMITS = {
    "C": "for CDL-C only. It is better there than the general priors and worse, and over-confident, elsewhere; devices "
    "of about unit mean power (a receiver scales them).",
    "cdl": "devices of about unit mean power (a receiver scales them); delay spreads above 600 ns: take `cdl-wide`; "
    "another subcarrier spacing or array needs a prior of its own (`jadce train`).",
    "wide": "devices of about unit mean power (a receiver scales them); it gives up some accuracy on the usual delay "
    "spreads for its width: take `cdl` where these hold; another subcarrier spacing or array needs a prior of its own "
    "(`jadce train`).",
}
RAMP = (
    "the command is that of the release that made it. Half of the updates' channels, the mirrored ones, had a wrong "
    "phase ramp then; going on for 1200 updates with the right one gains 0.01 dB"
)


def rows_of(case: str, name: str, noise: str) -> list[dict[str, str]]:
    with (DATA / f"{case}.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["estimator"] == name and row["noise"] == noise]


def line(label: str, rows: list[dict[str, str]], column: str) -> str:
    return f"| {label} | " + " | ".join(f"{float(row[column]):.2f}" for row in rows) + " |"


def measured(name: str) -> list[str]:
    text: list[str] = []
    for noise in ("white", "coloured"):
        text += ["", f"{noise.capitalize()} noise:" if noise == "white" else "Coloured noise, 10:1 over beams:", ""]
        for case in CASES:
            rows, genie = rows_of(case, name, noise), rows_of(case, "genie", noise)
            if not rows:
                continue
            if len(text) == 3 or text[-1] == "":
                text += ["| SNR, dB | " + " | ".join(f"{float(r['snr_db']):g}" for r in rows) + " |", "|---" * 6 + "|"]
            model, side = case.split("-")
            text += [
                line(f"CDL-{model} {side}, NMSE ({rows[0]['channels']} channels)", rows, "nmse_db"),
                line("genie", genie, "nmse_db"),
                line("promised / true squared error", rows, "calibration"),
            ]
    return text


def document(name: str, what: str, facts: list[tuple[str, str]], rest: list[str]) -> str:
    """A card: what the prior is, a table of facts, and what was measured."""
    table = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts), ""]
    return "\n".join([f"# {name}", "", what, "", *table, *rest]) + "\n"


def card(name: str) -> str:
    prior = jf.load_prior(name)
    meta, network = prior.metadata, prior.network
    settings = meta.get("settings", {})
    kind = settings.get("channels", "C" if name == "cdl-c" else "cdl")
    weights = sum(p.numel() for p in network.parameters())
    facts = [
        ("array and grid", "half-wavelength ULA (trained with 32 antennas), 48 subcarriers 30 kHz apart"),
        ("normalisation", "unit mean power of every channel"),
    ]
    if isinstance(prior, NcsnPrior):
        what = (
            "posterior mean and error variance of a device's channel from its noisy version\n"
            "over subcarriers and antennas"
        )
        facts.append(
            ("network", f"NCSNv2 (first order) and NCSN (second order), width {network.architecture['width']}")
        )
    else:
        what = (
            "posterior mean and error variance of a device's channel from noisy Karhunen-Loève\n"
            "coefficients in beamspace, told the noise variance of every beam"
        )
        a = network.architecture
        facts += [
            ("coefficients", f"{len(prior.eigenvalues)} of 48"),
            (
                "network",
                f"width {a['width']}, hidden {a['hidden']}, {a['blocks']} blocks, {a['taps']} taps, dilations "
                + ", ".join(map(str, a["dilations"])),
            ),
        ]
    macs = network.multiplications(32) / 1e6
    facts += [
        ("weights", f"{weights}"),
        ("arithmetic", f"{macs:.2f} million multiply-accumulates a device (32 antennas)"),
        ("trained on", FAMILIES[kind]),
        ("made by", f"`{meta['recipe']}`"),
        (
            "updates",
            f"{meta['steps']} of {meta['batch'] if 'batch' in meta else settings['batch']} channels, "
            f"seed {meta['seed'] if 'seed' in meta else settings['seed']}, {meta['seconds']:.0f} s",
        ),
        ("hardware", meta["hardware"]),
    ]
    if "settings" not in meta and name != "cdl-c":
        facts.append(("note", RAMP))
    elif "settings" not in meta:
        facts.append(("note", "the command is that of the release that made it"))
    facts.append(("licence", meta["license"]))
    rest = [
        "Measured by `bash scripts/denoising.sh` on held-out channels of plain tables (no jitter, random azimuth,",
        "delay spread 100-363 ns), errors over all 48 subcarriers. The genie knows every channel's path delays, angles",
        "and powers, and the noise map.",
        *measured(name),
        "",
        f"Limits: {LIMITS[kind]}",
    ]
    what = f'Score network for JADCE: {what}. Read it with `jadce_fast.load_prior("{name}")`.'
    return document(name, what, facts, rest)


def cell_card(name: str) -> str:
    prior = jf.load_cell_prior(name)
    meta, network, world = prior.metadata, prior.network, prior.cell
    a, settings, levels = network.architecture, meta["settings"], meta["snr_db"]
    facts = [
        (
            "world",
            f"devices uniform over the ring {world.inner:g}-{world.outer:g} m, path loss exponent {world.exponent:g}, "
            "Rayleigh",
        ),
        ("activity rate", f"{world.activity_rate:g}"),
        ("normalisation", meta["normalisation"]),
        (
            "network",
            f"{a['blocks']} blocks of {a['width']} maps, convolutions over 3 antennas and {a['reach']} device(s)",
        ),
        ("weights", f"{sum(p.numel() for p in network.parameters())}"),
        ("arithmetic", f"{network.multiplications(16) / 1e6:.3f} million multiply-accumulates a device (16 antennas)"),
        (
            "trained on",
            f"{LEAST_ANTENNAS} to {MOST_ANTENNAS} antennas, noise variances {LEAST_NOISE:g} to {MOST_NOISE:g}, both "
            "even in their logarithm; 64 devices",
        ),
        ("made by", f"`{meta['recipe']}`"),
        (
            "updates",
            f"{meta['steps']} of {settings['batch']} matrices (of 16 antennas), seed {settings['seed']}, "
            f"{meta['seconds']:.0f} s",
        ),
        ("hardware", meta["hardware"]),
        ("licence", meta["license"]),
    ]
    rest = [
        "Measured at the end of the training on 40 000 columns (of 16 antennas; of others in proportion) that it never",
        "saw: error in dB, and what it adds to the error of the exact posterior mean. SNR is that of entries of mean",
        "power one.",
        "",
        "| SNR, dB | " + " | ".join(map(str, levels)) + " |",
        "|---" * (len(levels) + 1) + "|",
    ]
    for case, rows in meta["curve"].items():
        rest.append(f"| {case}, error | " + " | ".join(f"{x:.2f}" for x in rows["nmse"]) + " |")
        rest.append("| above the exact mean | " + " | ".join(f"{x:.3f}" for x in rows["above_exact"]) + " |")
    rest += [
        "",
        "Limits: for this ring, path loss and activity rate; another cell needs a network of its own (`jadce train",
        "--network cell`, from Python with `channels=CellPrior(...)`). Its mean alone is learned: variances and",
        "probabilities of activity are closed forms of the cell.",
    ]
    what = "Score network of the channel matrix X of a cell, for `jadce_fast.LangevinReceiver`: posterior\n"
    what += f'mean of noisy columns. Read it with `jadce_fast.load_cell_prior("{name}")`.'
    return document(name, what, facts, rest)


if __name__ == "__main__":
    for write, names in ((card, shipped_priors()), (cell_card, shipped_cell_priors())):
        for name in names:
            (WEIGHTS / f"{name}.md").write_text(write(name))
            print(name)
