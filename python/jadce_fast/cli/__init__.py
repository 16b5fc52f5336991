"""The command line, ``jadce``: demo, detect, simulate, tune, train, adapt, export, figures, info.

Standard output holds results alone: a table, or with ``--json`` one JSON object. Notes, progress and errors
go to standard error. The exit status is 0, or 2 with a reason of one line if the input cannot be used.
NumPy, torch and matplotlib are imported where they are used: ``jadce --help`` needs none of them.
"""

from . import adapt, bench, cell, detect, figures, info, simulate, train  # noqa: F401  (each adds its commands)
from .app import main as main
