"""Faults that we inject ourselves, into real processes, and what they left: `python -m tests.chaos --help`."""
