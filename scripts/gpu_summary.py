"""Adds hardware, versions, commit and failed parts to the JSON of scripts/gpu_check.sh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import torch


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    except OSError:  # git may be missing
        return None


def _info() -> object:
    try:
        from jadce_fast import info

        return info.collect()
    except Exception as error:  # the rest is worth keeping where the package could not be built
        return f"{type(error).__name__}: {error}"


def main() -> None:
    path, *failed = sys.argv[1:]
    file = Path(path)
    found = json.loads(file.read_text()) if file.exists() else {}
    commit = os.environ.get("JADCE_COMMIT") or _output("git", "rev-parse", "HEAD")
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit,
        "gpu": None
        if gpu is None
        else {"name": gpu.name, "memory": gpu.total_memory, "sms": gpu.multi_processor_count},
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "cupy": _version("cupy-cuda13x")},
        "info": _info(),
        "failed": failed,
    }
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found | {"about": about}, indent=1) + "\n")
    os.replace(part, file)


if __name__ == "__main__":
    main()
