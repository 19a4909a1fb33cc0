"""The device that trains. Its name is checked before torch is loaded, which takes seconds."""

from typing import TYPE_CHECKING, Final

from model_zoo.device import check_device_name
from train.experiments.experiment import ExperimentError
from train.terminal import console

if TYPE_CHECKING:
    import torch

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


def choose_device(name: str) -> "torch.device":
    """Raises ExperimentError on what is no device, or a GPU that is missing; `auto` says what it chose."""
    import torch  # noqa: PLC0415

    if name == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        console.print(f"device: {chosen.type} ({'a GPU is' if chosen.type == 'cuda' else 'no GPU'} visible)")
        return chosen
    check_device(name)
    asked = torch.device(name)
    visible = torch.cuda.device_count() if asked.type == "cuda" else 0
    if asked.type == "cuda" and (asked.index or 0) >= visible:
        seen = f"only {visible} CUDA device is" if visible else "no CUDA device is"
        raise ExperimentError(f"--device {name}: {seen} visible; run with --device cpu")
    return asked
