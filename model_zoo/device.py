"""The device that models run on. Its name is checked before torch is loaded, which takes seconds."""

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

DEVICES: Final = "auto, cpu, cuda or cuda:N"
KNOWN: Final = re.compile(r"auto|cpu|cuda(:(0|[1-9][0-9]?))?")


def check_device_name(name: str) -> str:
    """`name` itself. Raises ValueError where models do not run on a device of that name."""
    if not KNOWN.fullmatch(name):
        raise ValueError(f"models do not run on {name!r}; give {DEVICES}")
    return name


def device_named(name: str) -> "torch.device":
    """The device of that name; `auto` is a GPU where one is visible. Raises ValueError for one that is not there."""
    import torch  # noqa: PLC0415

    visible = torch.cuda.device_count()
    device = torch.device(check_device_name(name) if name != "auto" else "cuda" if visible else "cpu")
    if device.type == "cuda" and (device.index or 0) >= visible:
        raise ValueError(f"{name} is not visible ({visible} CUDA devices are); give cpu")
    return device
