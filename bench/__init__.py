"""Measurements with a figure to meet; see README.md for the method and `python -m bench --help` for the commands."""
