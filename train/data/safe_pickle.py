"""Pickles of arrays from strangers, read without running what they say.

A pickle is a program: it names functions and calls them. This reader admits those that build numpy arrays, plain
containers and pandas frames, and refuses every other name before anything is called. What it builds is never larger
than what the file holds.

What a pickle would build is worked out from its program, as `pickletools` spells it, before any of it is run. A number
in a pickle's memo takes two bytes and stands for whatever was built before: lists of lists of one list grow without
end, and to compare or hash such a thing never ends. And BUILD sets attributes of whatever it is given, functions of
this program among them.
"""

import math
import pickle
import pickletools
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from train.data.pandas_pickle import FRAMES

FREE_PARTS: Final = 1_000_000
PARTS_A_STEP: Final = 20
"""A pickle may stand for so many parts, and for so many more with each step of its program. Tables take one a step."""
GLOBALS: Final = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
IN_PLACE: Final = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
CONTAINERS: Final = frozenset({
    "EMPTY_LIST", "LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "EMPTY_SET",
    "FROZENSET", "REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX"
})  # fmt: skip


@dataclass(slots=True, eq=False)
class _Container:
    """An object that holds others. leaves: those that hold nothing. size: parts in all, once it is worked out."""

    parts: "list[_Container]" = field(default_factory=list)
    leaves: int = 1
    size: int = 0

    def add(self, others: "list[Any]") -> None:
        for other in others:
            if isinstance(other, _Container):
                self.parts.append(other)
            else:
                self.leaves += 1


LEAF: Final = object()
GLOBAL: Final = object()
MARK: Final = object()


def check_cost(stream: IO[bytes]) -> None:
    """Raise ValueError where the program builds more than it spells, holds itself, or alters a name that it asks for.

    So it does where a number has memory set aside for what the file cannot hold.
    """
    file_bytes = stream.seek(0, 2)
    stream.seek(0)
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    containers: list[_Container] = []
    steps = 0
    for opcode, argument, position in pickletools.genops(stream):
        steps += 1
        number: Any = argument
        if (opcode.name == "FRAME" or opcode.name.endswith("PUT")) and int(number or 0) > file_bytes:
            raise ValueError(f"{opcode.name} at byte {position} claims {argument}, the file has {file_bytes} bytes")
        if opcode.name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            memo[int(number)] = stack[-1]
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif opcode.name in {"GET", "BINGET", "LONG_BINGET"}:
            stack.append(memo[int(number)])
        else:
            _step(opcode, int(position or 0), stack, containers)
    stream.seek(0)
    limit = FREE_PARTS + PARTS_A_STEP * steps
    for container in containers:
        if _size(container, limit) > limit:
            raise ValueError(f"its {steps} steps stand for more than {limit} parts, one within another")


def _step(opcode: Any, position: int, stack: list[Any], containers: list[_Container]) -> None:
    """What one step does to the stack."""
    if opcode.name == "DUP":
        stack.append(stack[-1])
        return
    taken = _taken(opcode, stack)
    if opcode.name in IN_PLACE:
        changed, *others = taken
        if changed is GLOBAL:
            raise ValueError(f"{opcode.name} at byte {position} alters a name that it asks for")
        if isinstance(changed, _Container):
            changed.add(others)
        stack.append(changed)
    elif opcode.name in CONTAINERS:
        containers.append(_Container())
        containers[-1].add(taken)
        stack.append(containers[-1])
    else:
        kind = GLOBAL if opcode.name in GLOBALS else MARK if opcode.name == "MARK" else LEAF
        stack += [kind] * len(opcode.stack_after)


def _taken(opcode: Any, stack: list[Any]) -> list[Any]:
    """What a step takes off the stack, marks left out: down to the last mark where it asks for one."""
    names = [kind.name for kind in opcode.stack_before]
    count = len(names)
    if "mark" in names:
        count = stack[::-1].index(MARK) + 1 + names.index("mark")
    if count > len(stack):
        raise ValueError(f"{opcode.name} finds {len(stack)} of {count} objects")
    taken = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return [one for one in taken if one is not MARK]


def _size(container: _Container, limit: int) -> int:
    """Parts of a container, each counted wherever it is held, up to a little more than `limit`."""
    pending = [container]
    while pending:
        now = pending[-1]
        if now.size > 0:
            pending.pop()
            continue
        waiting = [part for part in now.parts if part.size == 0]
        if now.size < 0 and waiting:
            raise ValueError("an object in it holds itself")
        if any(part.size < 0 for part in now.parts):
            raise ValueError("an object in it holds itself")
        if waiting:
            now.size = -1
            pending += waiting
        else:
            now.size = min(now.leaves + sum(part.size for part in now.parts), limit + 1)
    return container.size


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
