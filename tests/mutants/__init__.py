"""Single faults planted in the hot files, each tried against the tests near it: `python -m tests.mutants --help`.

Not mutmut, which plants all faults in one process, where functions that numba compiled cannot be exchanged; not
cosmic-ray, which has one command of tests for all files. Both name what survives by line or number, which no table of
reasons can follow through an edit.
"""
