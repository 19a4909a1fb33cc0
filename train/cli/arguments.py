"""What a command line asks for, checked before torch is loaded, which takes seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consumer.errors import OutputError
from consumer.writable import check_folder
from model_zoo.checks import check_device_name
from train.experiments.experiment import ExperimentError
from train.terminal import note

if TYPE_CHECKING:
    import torch

ELSEWHERE: Final = ("meta", "mps", "xpu", "hpu", "mtia", "xla", "hip", "vulkan", "mkldnn", "privateuseone")
"""Kinds of devices that torch knows, and nothing is trained on here."""


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


def check_device(name: str) -> None:
    """Raise ExperimentError for what is no device, or none that anything is trained on."""
    try:
        check_device_name(name)
    except ValueError as error:
        known = name.partition(":")[0] in ELSEWHERE
        why = "nothing is trained there" if known else "no device is called so"
        raise ExperimentError(f"--device {name}: {why}; give cpu, cuda or auto") from error


def training_device(name: str) -> "torch.device":
    """Raises ExperimentError on what is no device, or a GPU that is missing; `auto` says what it chose."""
    import torch

    if name == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        note(f"device: {chosen.type} ({'a GPU is' if chosen.type == 'cuda' else 'no GPU'} visible)")
        return chosen
    check_device(name)
    requested = torch.device(name)
    visible = torch.cuda.device_count() if requested.type == "cuda" else 0
    if requested.type == "cuda" and (requested.index or 0) >= visible:
        seen = f"only {visible} CUDA device is" if visible else "no CUDA device is"
        raise ExperimentError(f"--device {name}: {seen} visible; run with --device cpu")
    return requested
