"""Checks compiled kernels: nothing is loaded before `after_previous()` but what a kernel may load early.

    python scripts/early_loads.py OBJECT...

A compiler may move loads through `const __restrict__` pointers up beyond that wait, where another kernel still writes
(core/launch.hpp). That shows in the machine code only: loads from global memory before the instruction ACQBULK.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

EARLY = {"tensor_kernel", "spectral_kernel", "gather_kernel", "activity_kernel"}  # tables, before they wait
LOAD = re.compile(r"\b(LDG|LDGSTS|LD)\.")


def disassembly(path: str) -> str:
    tools = Path(sysconfig.get_path("purelib"), "nvidia", "cu13", "bin")  # cuobjdump runs nvdisasm
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    return subprocess.run(
        [tools / "cuobjdump", "-sass", path], env=environment, check=True, capture_output=True, text=True
    ).stdout


def kernels(text: str) -> dict[tuple[str, str], list[str] | None]:
    """Loads before the wait of every kernel, by architecture and name; None where nothing waits."""
    found: dict[tuple[str, str], list[str] | None] = {}
    arch, name, loads = "", "", []
    for line in text.splitlines():
        if match := re.search(r"arch = (\w+)", line):
            arch = match[1]
        elif match := re.search(r"Function : \w*?\d+([a-z_]+_kernel)", line):
            name, loads = match[1], []
            found.setdefault((arch, name), None)
        elif match := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            if "ACQBULK" in match[1]:
                found[arch, name] = (found[arch, name] or []) + loads
            elif LOAD.search(match[1]):
                loads.append(match[1])
    return found


def main() -> None:
    wrong = []
    for path in sys.argv[1:]:
        for (arch, name), loads in kernels(disassembly(path)).items():
            if int(arch[3:]) < 90:  # kernels do not overlap there
                continue
            if loads is None:
                wrong.append(f"{name} ({arch}): expected after_previous(), found none")
            elif loads and name not in EARLY:
                wrong.append(f"{name} ({arch}): expected no loads before after_previous(), found {loads}")
    print("\n".join(wrong) or f"early loads: none in {len(sys.argv) - 1} files")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
