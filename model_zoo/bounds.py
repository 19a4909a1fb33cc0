"""What the numbers of an architecture may be: checked before anything is built of them."""

import reprlib
from typing import Any, Final

WIDEST: Final = 65_536
"""Of a layer. The encoder has 64 maps, the heads some hundred units."""


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
