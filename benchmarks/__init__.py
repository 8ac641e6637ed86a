"""Measurements, run by hand: each module prints a table, with ``--json`` one object a line."""
