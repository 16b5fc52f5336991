"""One text for NumPy's arrays and torch's tensors."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def namespace(array: Any) -> Any:
    """Torch for its tensors, NumPy for all else; called are functions that both have with the same arguments.

    array-api-compat would be a dependency more for some ten names.
    """
    torch = sys.modules.get("torch")  # there is no tensor where it was not imported
    return torch if torch is not None and isinstance(array, torch.Tensor) else np
