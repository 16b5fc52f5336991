"""The figures of both papers: what is measured, and how it is drawn."""
