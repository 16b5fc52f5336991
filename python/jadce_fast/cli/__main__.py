"""``python -m jadce_fast.cli``."""

from .app import main

main()
