"""What a command line asks for, checked before torch is loaded: that takes seconds, and a slip is told at once."""

from collections.abc import Sequence
from pathlib import Path

from consumer.errors import OutputError
from consumer.writable import check_folder
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


def check_export(to: Path, *, overwrite: bool) -> None:
    """Raise OutputError where the folder of a checkpoint cannot be written, or holds something.

    overwrite: a checkpoint that is there may be replaced; other files may not get one among them.
    """
    check_folder("--to", to)
    if not to.is_dir() or not any(to.iterdir()):
        return
    if not (to / "model.json").is_file():
        raise OutputError(f"--to {to} holds other files and no checkpoint; give a folder of its own")
    if not overwrite:
        raise OutputError(f"--to {to} holds a checkpoint; add --overwrite to replace it, or give another --to")
