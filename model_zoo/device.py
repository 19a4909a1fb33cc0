"""Names of devices, checked before torch is loaded."""

import re
from typing import Final

DEVICES: Final = "auto, cpu, cuda or cuda:N"
KNOWN: Final = re.compile(r"auto|cpu|cuda(:(0|[1-9][0-9]?))?")


def check_device_name(name: str) -> str:
    """`name` itself. Raises ValueError where models do not run on a device of that name."""
    if not KNOWN.fullmatch(name):
        raise ValueError(f"models do not run on {name!r}; give {DEVICES}")
    return name
