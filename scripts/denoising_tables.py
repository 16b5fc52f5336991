"""Rewrite the results of docs/denoising.md from measurements.

python scripts/denoising_tables.py MEASURED.csv TIMES.csv "COMMAND" "HARDWARE" DATE, both files of scripts/denoising.sh
"""

import csv
import sys
from pathlib import Path
from statistics import median

Rows = list[dict[str, str]]


def read(path: str) -> Rows:
    with open(path) as file:
        return list(csv.DictReader(file))


def stem(name: str) -> str:
    return Path(name).stem if name.endswith(".safetensors") else name


def table(rows: Rows, title: str, noise: str, column: str, digits: int, times: Rows | None = None) -> str:
    """Lines are estimators that have the column, columns are SNRs; with `times` also costs."""
    levels = list(dict.fromkeys(row["snr_db"] for row in rows))
    lines: dict[str, Rows] = {}
    for row in rows:
        if row["noise"] == noise and row[column] and not (column == "genie_gap_db" and row["estimator"] == "genie"):
            lines.setdefault(row["estimator"], []).append(row)
    errors = [float(row[column + "_se"]) for own in lines.values() for row in own if row[column + "_se"]]
    head = ["SNR, dB", *(f"{float(level):g}" for level in levels)]
    head += ["channels", "ms a channel", "weights", "MACs"] if times else []
    text = [f"\n### {title}, {noise} noise\n", f"Standard errors are at most {max(errors):.{digits + 1}f}.\n"]
    text += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, own in lines.items():
        cells = [f"{float(row[column]):.{digits}f}" for row in own]
        if times:
            taken = [float(r["seconds"]) for r in times if stem(r["estimator"]) == stem(name) and r["noise"] == noise]
            macs = own[0]["multiplications"]
            cells += [own[0]["channels"], f"{1e3 * median(taken):.3g}" if taken and median(taken) > 1e-6 else "-"]
            cells += [own[0]["parameters"], f"{float(macs) / 1e6:.3g} M" if macs else ""]
        text.append(f"| `{stem(name)}` | " + " | ".join(cells) + " |")
    return "\n".join(text).replace(" -", " −").replace("− |", "- |")


def main() -> None:
    measured, times, command, hardware, date = sys.argv[1:6]
    rows = read(measured)
    out = [f"`{command}`, {hardware}, {date}. Times are of a run of their own on the idle machine.\n".replace("\n", "")]
    for noise in dict.fromkeys(row["noise"] for row in rows):
        out.append(table(rows, "NMSE in dB", noise, "nmse_db", 2, read(times)))
        out.append(table(rows, "dB above the genie", noise, "genie_gap_db", 2))
        out.append(table(rows, "Calibration, promised / true squared error", noise, "calibration", 3))
        out.append(table(rows, "Divergence, probe / promise", noise, "divergence_ratio", 3))
    page = Path(__file__).parent.parent / "docs/denoising.md"
    text = page.read_text()
    page.write_text(text[: text.index("## Results")] + "## Results\n\n" + "\n".join(out) + "\n")


if __name__ == "__main__":
    main()
