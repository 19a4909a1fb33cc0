"""Pickles of arrays from strangers, read without running what they say.

A pickle is a program: it names functions and calls them. This reader admits those that build numpy arrays, plain
containers and pandas frames, and refuses every other name before anything is called. What it builds is never larger
than what the file holds.
"""

import math
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from train.data.pickles.pandas_pickle import FRAMES
from train.data.pickles.pickle_cost import check_cost

DAMAGED: Final = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
    RuntimeError,
    BufferError,
    Warning,  # where they are errors
)
"""What the standard reader and numpy raise on bytes that are not what they say."""


class PickleError(ValueError):
    """A pickle that asks for more than arrays and plain containers, or is damaged."""


def read_pickle(path: Path) -> Any:
    """What the pickle holds: numpy arrays, plain containers, pandas frames as `Frame` and `Series`.

    Raises PickleError naming the global that was refused, or what is wrong with the file.
    """
    try:
        with path.open("rb") as stream:
            return unpickled(stream, path)
    except OSError as error:
        raise PickleError(f"{path} cannot be read: {error.strerror}") from error


def unpickled(stream: IO[bytes], path: Path) -> Any:
    """The same, of an open file. path: what errors call it."""
    try:
        check_cost(stream)
        return _ArraysOnly(stream, path).load()
    except PickleError:
        raise
    except DAMAGED as error:
        raise PickleError(f"{path} cannot be read as a pickle of arrays: {type(error).__name__}: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    def __init__(self, stream: Any, path: Path) -> None:
        super().__init__(stream, encoding="latin1")  # Python 2 wrote array bytes as str
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if name in ARRAYS and module in MODULES:
            return ARRAYS[name]
        if (module, name) in FRAMES:
            return FRAMES[module, name]
        raise PickleError(
            f"{self._path} asks for {module}.{name}, which does not build an array; refused, nothing of it was run. "
            "If you trust the file, load it yourself and save its arrays with numpy.savez"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise PickleError(f"{self._path} refers to an object outside the file ({pid!r}); refused")


ARRAY: Final = object()
"""What stands for `numpy.ndarray`: handed to `_reconstruct`, and not to be called for an array of any size."""

ITEM: Final = re.compile(r"[biufcSUO]\d{0,6}")
"""Kinds of items by numpy's letters: numbers, text, objects. No records, no times, no raw bytes."""


class _Dtype:
    """What stands for `numpy.dtype`. numpy's own believes any state that it is given, and crashes on some."""

    def __init__(self, item: object, *_: object) -> None:
        if not isinstance(item, str) or not ITEM.fullmatch(item):
            raise PickleError(f"a pickle asks for an array of {item!r}; numbers, text and objects are admitted")
        self._dtype = np.dtype(item)

    def __setstate__(self, state: Any) -> None:
        order, *record = state[1:5]
        if record != [None, None, None] or order not in {"<", ">", "=", "|"}:
            raise PickleError("a pickle asks for an array of records; numbers, text and objects are admitted")
        self._dtype = self._dtype.newbyteorder(order)

    def of(self, values: Any, items: int) -> "np.dtype[Any]":
        """The dtype, seen to give `items` out of `values`."""
        size = items if self._dtype.hasobject else items * self._dtype.itemsize
        kind = list if self._dtype.hasobject else (bytes, bytearray, str)
        if not isinstance(values, kind) or len(values) != size or (items and not self._dtype.itemsize):
            raise PickleError(f"a pickle asks for {items} items of {self._dtype} and does not give them")
        return self._dtype


class _Array(np.ndarray[Any, Any]):
    """An array that takes its values once, and no more of them than it is given."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, values = state
        if self.size or not isinstance(dtype, _Dtype):
            raise PickleError("a pickle gives an array's values twice, or no dtype")
        whole: Any = (1, shape, dtype.of(values, _items(shape)), bool(fortran), values)
        super().__setstate__(whole)


def _items(shape: Any) -> int:
    if not isinstance(shape, tuple) or not all(isinstance(length, int) and length >= 0 for length in shape):
        raise PickleError(f"a pickle asks for an array of shape {shape!r}")
    return math.prod(shape)


def _reconstruct(kind: object, shape: object, _: object) -> _Array:
    """An empty array, which its state will fill: numpy itself asks for nothing else."""
    if kind is not ARRAY or shape != (0,):
        raise PickleError(f"a pickle asks for an array of shape {shape!r} before it has given its values")
    return np.empty(0, np.int8).view(_Array)


def _scalar(dtype: _Dtype, value: Any) -> Any:
    """A number, of the bytes given for it."""
    raw = value.encode("latin1") if isinstance(value, str) else value
    return np.frombuffer(raw, dtype.of(raw, 1))[0]


def _frombuffer(values: Any, dtype: _Dtype, shape: Any, order: str) -> Any:
    """As protocol 5 spells an array."""
    return np.frombuffer(values, dtype.of(values, _items(shape))).reshape(shape, order=order)  # type: ignore[call-overload]


def _encode(text: str, codec: str) -> bytes:
    """`_codecs.encode` as protocol 2 uses it for bytes; any other codec is somebody's idea of a joke."""
    if codec != "latin1":
        raise PickleError(f"a pickle asks for text encoded as {codec!r}; only latin1, that of bytes, is admitted")
    return text.encode(codec)


ARRAYS: Final = {"_reconstruct": _reconstruct, "scalar": _scalar, "_frombuffer": _frombuffer}
MODULES: Final = frozenset(f"numpy.{core}.{part}" for core in ("core", "_core") for part in ("multiarray", "numeric"))
"""Where numpy keeps its builders of arrays: under `core` before numpy 2, under `_core` since."""

PLAIN: Final[dict[tuple[str, str], Any]] = {
    ("numpy", "ndarray"): ARRAY,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "slice"): slice,
    ("__builtin__", "slice"): slice,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
}
