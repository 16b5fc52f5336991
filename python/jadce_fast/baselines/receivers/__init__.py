"""Receivers of a cell's columns, a file each."""
