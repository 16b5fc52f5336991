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
    console.show(console.pairs({key.replace("_", "-"): console.plain(value) for key, value in found.items()}))
