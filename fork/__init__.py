"""Turns upstream's package into the fork. See `python -m fork --help`."""
