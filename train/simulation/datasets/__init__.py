"""Data sets of simulated stamps, in the layouts of the student projects."""
