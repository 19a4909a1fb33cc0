"""Bytes that nobody meant: `python -m tests.fuzz --help` for the long form, test_fuzz.py for the short one."""
