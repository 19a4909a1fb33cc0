"""Checks of what comes from users and files: numbers of an architecture, names of devices, text. Free of torch."""

import re
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # torch takes seconds to load
    import torch

WIDEST: Final = 65_536
"""Of a layer. The encoder has 64 maps, the heads some hundred units."""
DEVICES: Final = "auto, cpu, cuda or cuda:N"
KNOWN: Final = re.compile(r"auto|cpu|cuda(:(0|[1-9][0-9]?))?")
UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def check_counts(config: Any, **most: int) -> None:
    """Raise ValueError unless each named attribute of `config` is a whole number from 1 to its bound."""
    for name, bound in most.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= bound:
            raise ValueError(f"{type(config).__name__}.{name} is {reprlib.repr(value)}; give 1 to {bound}")


def check_share(config: Any, name: str) -> None:
    """Raise ValueError unless the named attribute of `config` is a number from 0 to 1."""
    value = getattr(config, name)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{type(config).__name__}.{name} is {reprlib.repr(value)}; give 0 to 1")


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


def decode_text(raw: bytes, name: str) -> str:
    """The text of a file in UTF-8 without its byte order mark.

    name: what errors call the file. Raises ValueError for another encoding.
    """
    if raw.startswith(UTF16_MARKS):
        raise ValueError(f"{name} is UTF-16 text; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def read_text(path: Path) -> str:
    """The text of `path`, read once: a pipe will do. Raises OSError, or ValueError for another encoding than UTF-8."""
    return decode_text(path.read_bytes(), str(path))
