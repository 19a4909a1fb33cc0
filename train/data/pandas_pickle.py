"""pandas' frames, series and indexes in a pickle, as the arrays that they hold. Nothing of pandas is needed or run.

What pandas 1, 2 and 3 write names its classes and calls its builders; each has a stand-in here, which takes what it is
given, sees that it fits, and builds nothing larger. All raise ValueError, or what Python raises on the wrong type.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


class Series:
    """A column: as an array, its values (rows,)."""

    def __setstate__(self, state: Any) -> None:
        manager = _manager(state)
        [[values, _]], [rows] = manager.blocks, manager.axes
        self._values = _values(values)
        if self._values.shape != (len(rows),):
            raise ValueError(f"a series of {len(rows)} rows has values {self._values.shape}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Values:  # noqa: FBT001  # numpy's own signature
        return np.array(self._values, dtype, copy=copy)


class Frame(Mapping[Any, Values]):
    """Columns (rows,) by name; as an array, (rows, columns)."""

    def __setstate__(self, state: Any) -> None:
        manager = _manager(state)
        names, rows = manager.axes
        blocks = [(np.atleast_2d(_values(values)), place) for values, place in manager.blocks]
        if sum(len(values) for values, _ in blocks) != len(names) or len(set(names)) != len(names):
            raise ValueError(f"a frame of {len(names)} columns, or of fewer names, has blocks for others")
        columns: dict[int, Values] = {}
        for values, place in blocks:
            columns |= zip(range(len(names))[place] if isinstance(place, slice) else place, values, strict=True)
        if any(column.shape != (len(rows),) for column in columns.values()):
            raise ValueError(f"a frame of {len(rows)} rows has columns of another length")
        self._columns = {name: columns[place] for place, name in enumerate(names)}

    def __getitem__(self, name: Any) -> Values:
        return self._columns[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Values:  # noqa: FBT001  # as above
        return np.asarray(np.stack([*self._columns.values()], axis=1), dtype)


class _Manager:
    """blocks: pairs of values, (columns, rows) or (rows,), and places of their columns. axes: the labels of each."""

    def __new__(cls, blocks: Any = (), axes: Any = ()) -> "_Manager":
        made = super().__new__(cls)
        made.blocks, made.axes = blocks, axes
        return made

    blocks: Any
    axes: Any

    def __setstate__(self, state: Any) -> None:
        whole = state[3]["0.14.1"]
        self.blocks = [(block["values"], block["mgr_locs"]) for block in whole["blocks"]]
        self.axes = whole["axes"]


def _manager(state: Any) -> _Manager:
    manager = state["_mgr"] if "_mgr" in state else state["_data"]  # its name before pandas 1.1
    if not isinstance(manager, _Manager):
        raise TypeError(f"a frame or series is made of a {type(manager).__name__}")
    return manager


def _block(values: Any, place: Any, _: Any) -> tuple[Any, Any]:
    return values, place


class _Text:
    """A dtype of text, which says nothing that its values do not."""

    def __new__(cls, *_: Any) -> "_Text":
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        pass


class _Categories:
    """A dtype of few values, by their codes."""

    def __setstate__(self, state: Any) -> None:
        self._categories = _values(state["categories"])

    def named(self, codes: Values) -> Values:
        """Codes (N,), -1 for a value that is missing → values (N,), None for that."""
        if codes.dtype.kind != "i" or codes.min(initial=-1) < -1 or codes.max(initial=-1) >= len(self._categories):
            raise ValueError(f"codes of {len(self._categories)} categories are outside them")
        named: Values = np.array([*self._categories.tolist(), None], object)[codes]
        return named


class _Held:
    """An array of pandas' own: of text, or of categories."""

    values: Values

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            state = (state["_dtype"], state["_pa_array"] if "_pa_array" in state else state["_codes"])
        dtype, values = state[:2]
        self.values = dtype.named(_values(values)) if isinstance(dtype, _Categories) else _values(values)


def _held(kind: Any, _checksum: Any, _state: Any) -> _Held:
    if kind is not _Held:
        raise ValueError("an array of pandas is of no class that is known")
    return _Held()


def _values(held: Any) -> Values:
    found = held.values if isinstance(held, _Held) else held
    if not isinstance(found, np.ndarray):
        raise TypeError(f"pandas gives a {type(found).__name__} where an array is needed")
    return found


INDEX: Final = object()
"""What stands for the classes of indexes: handed to `_new_Index`, and not to be called."""


MAX_ROWS: Final = 2**31
"""A range takes no memory itself, and is made into an array beside columns of as many rows."""


def _index(kind: Any, state: Any) -> Values | range:
    if kind is not INDEX:
        raise ValueError("an index is of no class that is known")
    if "data" in state:
        return _values(state["data"])
    rows = range(state["start"], state["stop"], state["step"])
    if len(rows) > MAX_ROWS:
        raise ValueError(f"an index of {len(rows)} rows is larger than any file")
    return rows


OFFSETS: Final[dict[str, np.dtype[Any]]] = {"string": np.dtype("<i4"), "large_string": np.dtype("<i8")}


def _arrow(parts: Any) -> Values:
    """Arrow's text (N,), None where it is missing: bits that say which is there, offsets into one buffer, and that."""
    kind, length, _, start, (there, offsets, text), *_ = parts
    wide = OFFSETS[kind]
    if not length:
        return np.empty(0, object)
    bounds = np.frombuffer(offsets, wide, length + 1, start * wide.itemsize)
    if start < 0 or bounds[0] < 0 or bounds[-1] > len(text or b"") or (np.diff(bounds) < 0).any():
        raise ValueError(f"text of {len(text or b'')} bytes has offsets outside it")
    known = np.unpackbits(np.frombuffer(there, np.uint8), bitorder="little")[start:] if there else np.ones(length)
    if len(known) < length:
        raise ValueError(f"{len(known)} bits say which of {length} values are there")
    pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), known[:length].tolist(), strict=True)
    return np.array([text[low:high].decode() if given else None for low, high, given in pairs], object)


def _buffer(values: Any) -> bytes | bytearray:
    if not isinstance(values, bytes | bytearray):
        raise TypeError(f"a buffer is made of a {type(values).__name__}")
    return values


def _bytearray(values: Any = b"", codec: str = "latin-1") -> bytes | bytearray:
    """`bytearray` of bytes alone: given a number, Python's own sets so much memory aside."""
    if codec != "latin-1":
        raise ValueError(f"bytes are spelled in {codec!r}")
    return _buffer(values.encode(codec) if isinstance(values, str) else values)


def _alias(name: Any) -> Any:
    if name not in OFFSETS:
        raise ValueError(f"Arrow's {name!r} is admitted no more than other types that are no text")
    return name


FRAMES: Final[dict[tuple[str, str], Any]] = {
    **dict.fromkeys([("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame")], Frame),
    **dict.fromkeys([("pandas", "Series"), ("pandas.core.series", "Series")], Series),
    **{("pandas.core.internals.managers", name): _Manager for name in ("BlockManager", "SingleBlockManager")},
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): INDEX,
    ("pandas.core.indexes.range", "RangeIndex"): INDEX,
    **{("pandas.core.indexes.numeric", f"{kind}Index"): INDEX for kind in ("Int64", "UInt64", "Float64")},
    **{("pandas", name): INDEX for name in ("Index", "RangeIndex")},
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _held,
    **{("pandas.arrays", name): _Held for name in ("StringArray", "ArrowStringArray")},
    **dict.fromkeys([("pandas", "Categorical"), ("pandas.core.arrays.categorical", "Categorical")], _Held),
    ("pandas", "StringDtype"): _Text,
    **dict.fromkeys([("pandas", "CategoricalDtype"), ("pandas.core.dtypes.dtypes", "CategoricalDtype")], _Categories),
    ("pyarrow.lib", "_restore_array"): _arrow,
    ("pyarrow.lib", "py_buffer"): _buffer,
    ("pyarrow.lib", "type_for_alias"): _alias,
    **{(module, "bytearray"): _bytearray for module in ("builtins", "__builtin__")},
}
"""Every name that is admitted, and what stands for it: pandas 1 and 2 name modules, pandas 3 what users see."""
