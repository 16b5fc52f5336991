"""Priors: what a receiver knows about an active device's channel."""

DEFAULT = "cdl-tiny+cdl-large"  # where none is named: better than "cdl" in every row of docs/results.md
