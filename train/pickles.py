"""Pickles of arrays from strangers, read without running what they say.

A pickle is a program: it names functions and calls them. This reader admits those that build numpy arrays, plain
containers and pandas frames, and refuses every other name before anything is called.
"""

import importlib
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np

ARRAYS: Final = frozenset({"_reconstruct", "scalar", "_frombuffer"})
"""Builders of arrays, found under `numpy.core` before numpy 2 and under `numpy._core` since."""

FRAMES: Final = frozenset(
    {
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.series", "Series"),
        ("pandas.core.internals.managers", "BlockManager"),
        ("pandas.core.internals.managers", "SingleBlockManager"),
        ("pandas._libs.internals", "_unpickle_block"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.indexes.numeric", "Int64Index"),
    }
)


class PickleError(ValueError):
    """A pickle that asks for more than arrays and plain containers, or is damaged."""


def read_pickle(path: Path) -> Any:
    """What the pickle holds: numpy arrays, plain containers, pandas frames.

    Raises PickleError naming the global that was refused, or what is wrong with the file.
    """
    try:
        with path.open("rb") as stream:
            return _ArraysOnly(stream, path).load()
    except PickleError:
        raise
    except (pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise PickleError(f"{path} cannot be read as a pickle of arrays: {type(error).__name__}: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    def __init__(self, stream: Any, path: Path) -> None:
        super().__init__(stream, encoding="latin1")  # Python 2 wrote array bytes as str
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if name in ARRAYS and module in {f"numpy.{core}.{part}" for core in ("core", "_core") for part in PARTS}:
            return getattr(_numpy_part(module.rsplit(".", 1)[1]), name)
        if (module, name) in FRAMES:
            return self._pandas(module, name)
        raise PickleError(
            f"{self._path} asks for {module}.{name}, which does not build an array; refused, nothing of it was run. "
            "If you trust the file, load it yourself and save its arrays with numpy.savez"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise PickleError(f"{self._path} refers to an object outside the file ({pid!r}); refused")

    def _pandas(self, module: str, name: str) -> Any:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise PickleError(
                f"{self._path} holds a pandas object ({module}.{name}) that cannot be built here: {error}; "
                "install the pandas it was written with, or save its arrays with numpy.savez"
            ) from error


def _numpy_part(part: str) -> Any:
    return importlib.import_module(f"numpy._core.{part}")


def _encode(text: str, codec: str) -> bytes:
    """`_codecs.encode` as protocol 2 uses it for bytes; any other codec is somebody's idea of a joke."""
    if codec != "latin1":
        raise PickleError(f"a pickle asks for text encoded as {codec!r}; only latin1, that of bytes, is admitted")
    return text.encode(codec)


PARTS: Final = ("multiarray", "numeric")

PLAIN: Final[dict[tuple[str, str], Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "slice"): slice,
    ("__builtin__", "slice"): slice,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
}
