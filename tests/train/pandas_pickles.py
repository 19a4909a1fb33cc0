"""Pickles in the words of pandas 1, 2 and 3, which need not be here: the names that they call, and with what.

Seen in what pandas 1.1.5, 1.5.3, 2.2.3 and 3.1.1 wrote, the last with pyarrow and without; 1.5 speaks as 2 does.
"""

import math
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

DIALECTS = ("1.0", "1.1", "2", "3", "3 with pyarrow")
CHECKSUM = 82904607


class Called:
    """Pickled as a call of `function`, and what it gives then set to `state`."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts if self.parts[2] is not None else self.parts[:2]


class Newly:
    """Base of the classes that pandas has: an instance is pickled by its class and its state."""

    state: Any = None

    def __getstate__(self) -> Any:
        return self.state


class Pandas:
    """Builds what `pickle.dumps` then says as the pandas of one dialect does."""

    def __init__(self, dialect: str) -> None:
        self.dialect, self.new = dialect, dialect.startswith("3")
        self.modules: dict[str, ModuleType] = {}

    def name(self, module: str, name: str) -> Any:
        """A class that pickles by reference under this name."""
        for end, letter in enumerate(module + "."):
            if letter == ".":
                self.modules.setdefault(module[:end], ModuleType(module[:end]))
        known = vars(self.modules[module])
        return known.setdefault(name, type(name, (Newly,), {"__module__": module}))

    def dumps(self, content: Any, protocol: int = 4) -> bytes:
        with listed(self.modules):
            return pickle.dumps(content, protocol)

    def series(self, values: Any) -> Any:
        rows = self.rows(len(values))
        state = {"axes": [rows], "blocks": [{"values": self.held(values), "mgr_locs": slice(0, len(values), 1)}]}
        manager = self.newly("pandas.core.internals.managers", "SingleBlockManager")
        manager.state = ([rows], [self.held(values)], [rows], {"0.14.1": state})
        return self.whole("pandas.core.series", "Series", manager)

    def frame(self, columns: dict[str, Any]) -> Any:
        """Columns of one type go into one block, as pandas has them."""
        names, kinds = list(columns), {np.asarray(column).dtype for column in columns.values()}
        blocks = []
        for kind in kinds:
            places = [place for place, name in enumerate(names) if np.asarray(columns[name]).dtype == kind]
            blocks.append((np.stack([columns[names[place]] for place in places]), np.array(places)))
        return self.frame_of(blocks, names, len(next(iter(columns.values()))))

    def frame_of(self, blocks: Any, names: Any, rows: int) -> Any:
        axes = [self.index(names), self.rows(rows)]
        if self.new:  # holds text a column at a time
            blocks = [(self.held(values[0]) if values.dtype == object else values, place) for values, place in blocks]
        module = "pandas.core.internals.managers"
        if self.dialect.startswith("1"):
            manager = self.newly(module, "BlockManager")
            listed_blocks = [{"values": values, "mgr_locs": place} for values, place in blocks]
            manager.state = (axes, [], [], {"0.14.1": {"axes": axes, "blocks": listed_blocks}})
        else:
            block = self.name("pandas._libs.internals", "_unpickle_block")
            parts = tuple(Called(block, values, place, 2) for values, place in blocks)
            manager = Called(self.name(module, "BlockManager"), parts, axes)
        return self.whole("pandas.core.frame", "DataFrame", manager)

    def whole(self, module: str, name: str, manager: Any) -> Any:
        made = self.newly("pandas" if self.new else module, name)
        made.state = {"_data" if self.dialect == "1.0" else "_mgr": manager, "_typ": name.lower(), "_metadata": []}
        return made

    def newly(self, module: str, name: str) -> Any:
        return self.name(module, name)()

    def rows(self, count: int) -> Any:
        state = {"name": None, "start": 0, "stop": count, "step": 1}
        return self.made_index("pandas.core.indexes.range", "RangeIndex", state)

    def index(self, names: Any) -> Any:
        state = {"data": self.held(np.array(names, object)), "name": None}
        return self.made_index("pandas.core.indexes.base", "Index", state)

    def made_index(self, module: str, name: str, state: Any) -> Any:
        kind = self.name("pandas" if self.new else module, name)
        return Called(self.name("pandas.core.indexes.base", "_new_Index"), kind, state)

    def held(self, values: Any) -> Any:
        """Text as pandas 3 holds it; anything else as it is."""
        array = np.asarray(values)
        if array.dtype != object or not self.new:
            return array
        dtype = self.name("pandas", "StringDtype")
        if self.dialect == "3":
            return self.backed("pandas.arrays", "StringArray", Called(dtype, "python", math.nan), array)
        made = self.newly("pandas.arrays", "ArrowStringArray")
        made.state = {"_pa_array": self.arrow(array), "_dtype": Called(dtype, "pyarrow", math.nan), "_cache": {}}
        return made

    def backed(self, module: str, name: str, dtype: Any, array: Any) -> Any:
        builder = self.name("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked")
        state = (dtype, array) if self.new else (dtype, array, {})
        return Called(builder, self.name(module, name), CHECKSUM, None, state=state)

    def categorical(self, codes: Any, categories: Any) -> Any:
        """A series of few values, by their codes."""
        dtype = self.newly("pandas" if self.new else "pandas.core.dtypes.dtypes", "CategoricalDtype")
        dtype.state = {"categories": self.index(categories), "ordered": False}
        place = ("pandas" if self.new else "pandas.core.arrays.categorical", "Categorical")
        if self.dialect.startswith("1"):
            held = self.newly(*place)
            held.state = {"_dtype": dtype, "_codes": codes}
        else:
            held = self.backed(*place, dtype, codes)
        manager = self.newly("pandas.core.internals.managers", "SingleBlockManager")
        rows = self.rows(len(codes))
        blocks = [{"values": held, "mgr_locs": slice(0, len(codes), 1)}]
        manager.state = ([rows], [held], [rows], {"0.14.1": {"axes": [rows], "blocks": blocks}})
        return self.whole("pandas.core.series", "Series", manager)

    def arrow(self, texts: Any, offsets: Any = None, start: int = 0) -> Any:
        raw = [b"" if text is None else text.encode() for text in texts]
        ends = np.cumsum([0, *map(len, raw)]) if offsets is None else np.array(offsets)
        bits = np.packbits([text is not None for text in texts], bitorder="little").tobytes()
        named = [bits, ends.astype("<i8").tobytes(), b"".join(raw)]
        buffers = [Called(self.name("pyarrow.lib", "py_buffer"), bytearray(one)) for one in named]
        kind = Called(self.name("pyarrow.lib", "type_for_alias"), "large_string")
        parts = (kind, len(texts), 0, start, buffers, [], None)
        return Called(self.name("pyarrow.lib", "_restore_array"), parts)


@contextmanager
def listed(modules: dict[str, ModuleType]) -> Iterator[None]:
    """What `pickle` asks of a name: that its module has it."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
