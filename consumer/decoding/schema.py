"""A container's writer schema, bounded before anything walks it: its JSON is checked, and only what reading needs kept.

fastavro parses what this gives, and never a stranger's JSON: what is no type, an absurd size, a default, or a mark of
fastavro's own is refused or left out here.
"""

import json
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from consumer.errors import BadAlert, Reason

Schema = Any

MAX_TYPES: Final = 10_000
"""Types in a schema, and fields of its records; ZTF's has 300, Rubin's some 2,000."""
MAX_DEPTH: Final = 32
"""Types within types; ZTF's nest 5 deep."""
MAX_NAME: Final = 256
MAX_FIXED: Final = 2**31 - 1
"""Bytes of a fixed: what fastavro and the compiled walk can count."""
PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

RESERVED: Final = PRIMITIVES | {"record", "error", "enum", "fixed", "array", "map", "union", "request", "error_union"}
"""Words that fastavro takes for a type of Avro's own, though a schema defines one of that name."""


def bounded(schema: bytes) -> tuple[Schema, str]:
    """The types of a writer schema, and its version, "" where it has none.

    Raises BadAlert where it is no schema, or passes a bound.
    """
    try:
        spelled = json.loads(schema.decode())
    except (ValueError, RecursionError) as error:
        refuse(named(error))
    version = spelled.get("version") if isinstance(spelled, dict) else None
    return _Bounded().type(spelled, 0), _version(version)


def refuse(why: str) -> NoReturn:
    """Raise the BadAlert of a schema that is none."""
    raise BadAlert(Reason.WRONG_SCHEMA, f"container's schema cannot be parsed: {why}")


def named(error: BaseException) -> str:
    """An error of a library's, which may quote a whole schema, in few words that can be published."""
    return f"{type(error).__name__}: {str(error)[:200].encode(errors='backslashreplace').decode()}"


def _version(version: Any) -> str:
    if version is None:
        return ""
    return _text("version", str(version) if isinstance(version, int | float) else version)


def _text(what: str, text: Any) -> str:
    """A name or version. It may be published, and becomes part of explanations."""
    if not isinstance(text, str):
        refuse(f"a {what} is of type {type(text).__name__}; text is needed")
    if len(text) > MAX_NAME:
        refuse(f"a {what} has {len(text)} characters, {text[:20]!a} …; at most {MAX_NAME} are read")
    try:
        text.encode()
    except UnicodeEncodeError:
        refuse(f"a {what}, {text[:50]!a}, is no valid Unicode")
    return text


class _Bounded:
    """Copies types, and counts them."""

    def __init__(self) -> None:
        self._left = MAX_TYPES

    def type(self, kind: Any, depth: int) -> Schema:
        self._left -= 1
        if self._left < 0:
            refuse(f"it has more than {MAX_TYPES} types")
        if depth > MAX_DEPTH:
            refuse(f"its types nest more than {MAX_DEPTH} deep")
        if isinstance(kind, str):
            return _text("type's name", kind)
        if isinstance(kind, list):
            return self._union(kind, depth)
        if not isinstance(kind, dict):
            refuse(f"a type is {'null' if kind is None else type(kind).__name__} in JSON")
        inner = kind.get("type")
        if isinstance(inner, dict | list):
            return self.type(inner, depth + 1)
        return self._complex(_text("type", inner), kind, depth)

    def _union(self, branches: list[Any], depth: int) -> Schema:
        if not branches:
            refuse("a union has no branch")
        made = [self.type(branch, depth + 1) for branch in branches]
        if any(isinstance(branch, list) for branch in made):
            refuse("a union is a branch of a union")
        return made

    def _complex(self, kind: str, spelled: dict[str, Any], depth: int) -> Schema:
        if kind in PRIMITIVES:
            logical = spelled.get("logicalType")
            return {"type": kind, "logicalType": logical} if isinstance(logical, str) else kind
        if kind in {"record", "error"}:
            return {"type": "record", **_naming(spelled), "fields": self._fields(spelled.get("fields"), depth)}
        if kind == "enum":  # its symbols are never looked at: it is a number to pass over
            return {"type": kind, **_naming(spelled), "symbols": ["any"]}
        if kind == "fixed":
            return {"type": kind, **_naming(spelled), "size": _size(spelled.get("size"))}
        part = {"array": "items", "map": "values"}.get(kind)
        if part is None:
            refuse(f"type {kind!r} is not known")
        return {"type": kind, part: self.type(spelled.get(part), depth + 1)}

    def _fields(self, fields: Any, depth: int) -> list[Schema]:
        if not isinstance(fields, list) or not all(isinstance(field, dict) for field in fields):
            refuse("a record's fields are no list of fields")
        names = [_text("field's name", field.get("name")) for field in fields]
        _check_distinct(names)
        types = [self.type(field.get("type"), depth + 1) for field in fields]
        return [{"name": name, "type": kind} for name, kind in zip(names, types, strict=True)]


def _check_distinct(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            refuse(f"a record has two fields {name!r}")
        seen.add(name)


def _naming(spelled: dict[str, Any]) -> dict[str, str]:
    return {key: _text(key, spelled[key]) for key in ("name", "namespace") if spelled.get(key) is not None}


def _size(size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_FIXED:
        shown = repr(size)[:50] if isinstance(size, int | float | str | None) else type(size).__name__
        refuse(f"a fixed has size {shown!a}; a number of bytes up to {MAX_FIXED} is needed")
    return size
