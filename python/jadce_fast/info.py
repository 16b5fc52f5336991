"""Facts about the installation and this machine."""

from __future__ import annotations

import platform
import sys
from importlib import metadata, resources
from typing import Any

_PACKAGES = ("numpy", "torch", "scipy", "h5py", "safetensors", "matplotlib", "typer", "sionna-no-rt")


def collect() -> dict[str, Any]:
    """Return versions, processor, kernel variant, threads, shipped priors and CUDA, for ``jadce info``.

    Torch is not imported: its version is that of the installed package.
    """
    weights = resources.files(__package__) / "priors" / "weights"
    names = [entry.name for entry in weights.iterdir()] if weights.is_dir() else []
    return {
        "jadce_fast": _version("jadce-fast"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "processor": _processor(),
        **_native(),
        "priors": sorted(n.removesuffix(".safetensors") for n in names if n.endswith(".safetensors")),
    }


def _native() -> dict[str, Any]:
    try:
        from . import _core, ops
        from .cuda import device
    except ImportError as error:
        return {"native": None, "native_error": str(error)}
    count, reason = device.devices()
    return {
        "native": {"version": _core.__version__, "compiler": _core.compiler},
        "kernels": _core.isa(),
        "kernels_available": list(_core.variants()),
        "network": "bf16" if _core.fast_bf16() else "fp32",
        "threads": ops.default_threads(),
        "cuda": {"built": device.kernels() is not None, "devices": count, "reason": reason or None},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    """Return model and vector features; Linux tells both, elsewhere the name must do."""
    wanted = ("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "amx_bf16", "asimd", "sve")
    fields: dict[str, str] = {}
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                fields.setdefault(key.strip(), value.strip())
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return {
        "name": fields.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "features": [name for name in wanted if name in flags],
    }
