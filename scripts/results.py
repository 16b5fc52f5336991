"""Measures the tables of docs/results.md: ``python scripts/results.py [--trials 50] [--only NAME]``.

Each row is one operating point, `trials` drops, ratio of summed errors. One JSON per row is kept under out/results,
from which an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from jadce_fast.campaigns import simulate, summarize
from jadce_fast.campaigns.ofdm_drop import Scenario

PRIORS = ("cdl", "cdl-tiny", "cdl-tiny+cdl-large")
HEADER = """# Results

Written by `python scripts/results.py` ({trials} drops a row, seed 0, {date}); the same as `jadce simulate` with the
row's options. K=800, N=48, M=32, 5 % active, 10 dB, partial-DFT pilots, random azimuths, delay spread 100–363 ns, power
control, unless a row says otherwise. **The receiver is never told the received powers.** NMSE is the ratio of summed
errors over all drops, a missed device counted with its whole energy; errors per K is (misses + false alarms) /
(K × drops). The priors `cdl` and `cdl-tiny` were trained on randomised tables, both columns of angles, and have not
seen a table as it stands; `cdl-c` is trained on CDL-C as it stands and good for nothing else. The genie-denoiser loop
is the same receiver with the LMMSE estimate by every device's true paths in the place of the network.

"""
MAIN = {
    "T=20, 0 dB": dict(symbols=20, snr_db=0.0),
    "T=20, 10 dB": dict(symbols=20),
    "T=10, 10 dB": dict(symbols=10),
    "T=5, 10 dB": dict(symbols=5),
    "K=3000, T=40, 10 dB": dict(devices=3000, symbols=40),
    "K=8000, T=40, 10 dB": dict(devices=8000, symbols=40),
}
SHORT = {k: v for k, v in MAIN.items() if k.startswith("T=")}
SECTIONS: dict[str, tuple[str, dict[str, dict], tuple[str, ...]]] = {
    "departure": ("CDL-C, departure columns (standard uplink)", MAIN, (*PRIORS, "cdl-c")),
    "arrival": ("CDL-C, arrival columns", {k: v | dict(angles="arrival") for k, v in MAIN.items()}, PRIORS),
    "spread": (
        "CDL-C, received powers spread over 20 dB",
        {k: v | dict(power_spread_db=20.0) for k, v in MAIN.items()},
        PRIORS,
    ),
    **{
        f"cdl-{m.lower()}": (f"CDL-{m}, departure columns", {k: v | dict(model=m) for k, v in MAIN.items()}, PRIORS)
        for m in "ABDE"
    },
    "gaussian": (
        "Gaussian prior (BG-TMP), CDL-C, departure columns",
        {k: v for k, v in SHORT.items() if k != "T=5, 10 dB"},
        ("gaussian",),
    ),
    "qpsk": ("CDL-C, random QPSK pilots", {k: v | dict(pilots="qpsk") for k, v in SHORT.items()}, PRIORS),
    "genie": (
        "Distance to the genie-denoiser loop, CDL-C",
        {
            "departure, T=20, 0 dB": dict(snr_db=0.0),
            "departure, T=20, 10 dB": dict(),
            "departure, T=10, 10 dB": dict(symbols=10),
            "departure, T=5, 10 dB": dict(symbols=5),
            "arrival, T=20, 0 dB": dict(snr_db=0.0, angles="arrival"),
            "arrival, T=20, 10 dB": dict(angles="arrival"),
        },
        ("cdl", "cdl-large", "cdl-c", "genie"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--only", choices=list(SECTIONS), action="append")
    arguments = parser.parse_args()
    folder = Path("out/results")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in arguments.only or SECTIONS:
        title, points, priors = SECTIONS[name]
        head = "| | prior | NMSE, dB | misses + false alarms | errors per K | iterations, mean (max) |"
        lines += [f"### {title}", "", head, "|---" * 6 + "|"]
        for point, change in points.items():
            scenario = Scenario(**change)
            key = f"{name}-{point}".translate(str.maketrans({c: "_" for c in " ,="}))
            records = simulate(scenario, priors, arguments.trials, resume=folder / key)
            for prior in priors:
                o = summarize(records, prior)
                most = max(r.iterations for r in records if r.prior == prior)
                lines.append(
                    f"| {point} | {prior} | {o.nmse_db:.2f} | {o.missed} + {o.false_alarms} of {o.active} "
                    f"| {o.error_rate:.1e} | {o.iterations:.1f} ({most}) |"
                )
                print(time.strftime("%H:%M"), title, lines[-1], flush=True)
        lines.append("")
    if not arguments.only:
        header = HEADER.format(trials=arguments.trials, date=time.strftime("%Y-%m-%d"))
        Path("docs/results.md").write_text(header + "\n".join(lines))


if __name__ == "__main__":
    main()
