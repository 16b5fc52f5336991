"""``jadce info``: what is installed, and what this machine can do."""

from __future__ import annotations

from . import console
from .app import Json, app


@app.command()
def info(as_json: Json = False) -> None:
    """Show versions, processor, kernels, shipped priors and CUDA."""
    from ..info import collect

    found = collect()
    if as_json:
        console.show_json(found)
        return
    for key, value in found.items():
        console.show(f"{key.replace('_', '-'):18} {console.plain(value)}")
