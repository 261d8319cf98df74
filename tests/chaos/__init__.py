"""Kills and pauses of everything under load, at random moments, and what has to hold all the same.

See `scripts/chaos --help`, and `tests/chaos/storm.py` for how it goes.
"""
