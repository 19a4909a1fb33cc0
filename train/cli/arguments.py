"""What a command line asks for, checked before torch is loaded: that takes seconds, and a slip is told at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from model_zoo.device import check_device_name
from train.baselines.experiment import ExperimentError

ELSEWHERE: Final = ("meta", "mps", "xpu", "hpu", "mtia", "xla", "hip", "vulkan", "mkldnn", "privateuseone")
"""Kinds of devices that torch knows, and nothing is trained on here."""


def check_device(name: str) -> None:
    """Raise ExperimentError for what is no device, or none that anything is trained on."""
    try:
        check_device_name(name)
    except ValueError as error:
        known = name.partition(":")[0] in ELSEWHERE
        why = "nothing is trained there" if known else "no device is called so"
        raise ExperimentError(f"--device {name}: {why}; give cpu, cuda or auto") from error


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
