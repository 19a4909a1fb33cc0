"""What a command line asks for, checked before torch is loaded: that takes seconds, and a slip is told at once."""

from collections.abc import Sequence
from pathlib import Path

from train.experiments.experiment import ExperimentError


def check_there(paths: Sequence[Path]) -> None:
    """Raise ExperimentError naming the first of `paths` where there is nothing."""
    for path in paths:
        if not path.exists():
            raise ExperimentError(f"no such file: {path}; give one that exists")


def single(paths: Sequence[Path]) -> Path:
    """The one data set that was given. Raises ExperimentError on more."""
    if len(paths) != 1:
        raise ExperimentError(f"--data was given {len(paths)} times; this experiment takes one data set")
    return paths[0]
