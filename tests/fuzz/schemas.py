"""A packet whose writer schema was changed as a structure, by decisions that bytes make."""

import json
import zlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, TypeVar

import cramjam

from consumer.decoding.compiler import records
from consumer.decoding.layout import layout
from consumer.errors import BadAlert
from tests.support.packets import SCHEMA, Packet
from tests.support.raw import block, body, container_of, long

T = TypeVar("T")

BODY = body(Packet(stamps={"science": b"s", "template": b"t", "difference": b"d"}))
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NUMBERS = (0, 1, -1, 2, 7, 2**31 - 1, 2**31, 2**63, 10**30, -(2**31), 1.5, True, None, "x", [], {})
NAMES = ("ztf.alert", "candidate", "cutout", "jd", "a", "a.b", ".", "", "é", "\ud800", "x" * 300, 7, None, [], "record")
KEYS = (
    *("name", "namespace", "type", "fields", "items", "values", "size"),
    *("symbols", "default", "aliases", "logicalType"),
)
COUNTS = (0, 1, 1, 1, 2, 3, 40, -1, 2**40, 2**62)
LEVELS = 40
BODY_BYTES = 20_000


class Choices:
    """Bytes as decisions; the first of every choice when they are spent."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def below(self, count: int) -> int:
        self._at += 1
        return self._data[self._at - 1] % count if self._at <= len(self._data) else 0

    def of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]


def packet_of(data: bytes) -> bytes:
    """A container of a schema that was changed up to seven times, and of a record that follows it, or does not."""
    choices = Choices(data)
    schema = deepcopy(SCHEMA)
    for _ in range(choices.of((0, 1, 1, 2, 2, 3, 4, 7))):
        if places := _places(schema):
            choices.of(CHANGES)(*choices.of(places), choices)
    spelled = json.dumps(schema)
    data, count = _body(spelled.encode(), choices), choices.of(COUNTS) if choices.below(4) == 3 else 1
    codec = choices.of(("null", "null", "deflate", "snappy"))
    return container_of(schema, [block(_packed(data * min(max(count, 1), 40), codec), count)], codec)


Place = tuple[Any, Any]
"""A list or an object of the schema's JSON, and the index or key of a part of it."""


def _places(part: Any) -> list[Place]:
    found: list[Place] = []
    keys = list(part) if isinstance(part, dict) else range(len(part))
    for key in keys:
        found.append((part, key))
        if isinstance(part[key], dict | list):
            found += _places(part[key])
    return found


def _type(choices: Choices, depth: int = 0) -> Any:
    name = f"n{choices.below(4)}" if choices.below(5) else choices.of(NAMES)
    inner = depth + 1
    makers: tuple[Callable[[], Any], ...] = (
        *[lambda: choices.of((*PRIMITIVES, *PRIMITIVES, name, *NAMES))] * 4,
        lambda: {"type": "fixed", "name": name, "size": choices.of(NUMBERS)},
        lambda: {"type": choices.of(("enum", "error", "request", "union")), "name": name, "symbols": ["a", "b"]},
        lambda: {"type": "array", "items": _type(choices, inner)},
        lambda: {"type": "map", "values": _type(choices, inner)},
        lambda: [_type(choices, inner) for _ in range(choices.below(4))],
        lambda: {"type": _type(choices, inner), "logicalType": choices.of(("decimal", "date", "uuid", "x"))},
        lambda: {"type": "record", "name": name, "fields": _fields(choices, inner)},
    )
    return choices.of(makers if depth < 4 else makers[:5])()


def _fields(choices: Choices, depth: int) -> list[Any]:
    return [{"name": f"f{at}", "type": _type(choices, depth)} for at in range(choices.below(4))]


def _replace(part: Any, key: Any, choices: Choices) -> None:
    part[key] = _type(choices)


def _nullable(part: Any, key: Any, choices: Choices) -> None:
    part[key] = ["null", part[key]] if choices.below(2) else [part[key], "null"]


def _wrap(part: Any, key: Any, choices: Choices) -> None:
    for _ in range(choices.of((1, 1, 2, LEVELS))):
        part[key] = choices.of(({"type": "array", "items": part[key]}, {"type": part[key]}, [part[key], "int"]))


def _number(part: Any, key: Any, choices: Choices) -> None:
    part[key] = choices.of(NUMBERS)


def _rename(part: Any, key: Any, choices: Choices) -> None:
    part[key] = choices.of(NAMES)


def _set(part: Any, key: Any, choices: Choices) -> None:
    if isinstance(part, dict):
        part[choices.of(KEYS)] = choices.of((*NUMBERS, *NAMES))


def _drop(part: Any, key: Any, choices: Choices) -> None:
    del part[key]


def _double(part: Any, key: Any, choices: Choices) -> None:
    """A field, or a branch, once more."""
    if isinstance(part, list):
        part.insert(choices.below(len(part) + 1), deepcopy(part[key]))


def _levels(part: Any, key: Any, choices: Choices) -> None:
    """Types that double, or follow one another, at each of some levels."""
    if isinstance(part, list):
        times, leaf = 1 + choices.below(3), _type(choices, 4)
        for level in range(choices.of((2, 5, 12, LEVELS))):
            fields = [{"name": f"f{at}", "type": f"t{level - 1}" if level else leaf} for at in range(times)]
            part.append({"name": f"level{level}", "type": {"type": "record", "name": f"t{level}", "fields": fields}})


def _field(part: Any, key: Any, choices: Choices) -> None:
    """A field that the reader passes over."""
    if isinstance(part, list):
        part.insert(choices.below(len(part) + 1), {"name": f"field{choices.below(9)}", "type": _type(choices)})


CHANGES: tuple[Callable[[Any, Any, Choices], None], ...] = (
    *(_field, _field, _field, _field, _replace, _nullable, _wrap, _number, _rename, _set, _drop, _double, _levels),
)


def _body(schema: bytes, choices: Choices) -> bytes:
    """A record of the schema where it is one, else of the schema as it was; now and then cut or lengthened."""
    try:
        writer = layout(schema).writer
    except BadAlert:
        return BODY
    if choices.below(4) == 3:
        return BODY
    out = bytearray()
    _write(writer, dict(records(writer)) | writer["__named_schemas"], choices, out)
    if choices.below(8) == 7:
        del out[choices.below(len(out) + 1) :]
    return bytes(out)


def _write(kind: Any, named: dict[str, Any], choices: Choices, out: bytearray) -> None:
    """Some value of a type: of more than `BODY_BYTES`, the rest is missing."""
    if len(out) > BODY_BYTES:
        return
    if isinstance(kind, list):
        branch = choices.below(len(kind))
        out += long(branch)
        _write(kind[branch], named, choices, out)
        return
    kind = named.get(kind, kind) if isinstance(kind, str) else kind
    plain = kind["type"] if isinstance(kind, dict) else kind
    if plain == "record":
        for field in kind["fields"]:
            _write(field["type"], named, choices, out)
    elif plain in {"array", "map"}:
        _write_items(kind, named, choices, out)
    elif plain in {"string", "bytes"}:
        text = choices.of((b"a", b"", b"ZTF", b"\xc3\xa9", b"\xff", b"x" * 300))
        out += long(len(text)) + text
    elif plain in {"int", "long", "enum"}:
        out += choices.of((long(1), long(0), long(2), long(-1), long(2**40), long(-(2**63)), b"\xff" * 9 + b"\x7f"))
    else:
        sizes = {"float": 4, "double": 8, "boolean": 1, "null": 0}
        size = sizes[plain] if plain in sizes else kind["size"]
        out += bytes([choices.of((1, 0, 0x41, 0xFF))]) * min(size, BODY_BYTES)


def _write_items(kind: Any, named: dict[str, Any], choices: Choices, out: bytearray) -> None:
    items = choices.below(3)
    if items:
        inner = bytearray()
        for _ in range(items):
            inner += long(1) + b"k" if kind["type"] == "map" else b""
            _write(kind["items" if kind["type"] == "array" else "values"], named, choices, inner)
        sized = choices.below(2)
        out += (long(-items) + long(len(inner)) if sized else long(choices.of((items, items, 2**40)))) + inner
    out += b"\0"


def _packed(data: bytes, codec: str) -> bytes:
    if codec == "snappy":
        return bytes(cramjam.snappy.compress_raw(data)) + zlib.crc32(data).to_bytes(4, "big")
    if codec == "deflate":
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush()
    return data
