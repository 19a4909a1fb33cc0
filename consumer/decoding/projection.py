"""The part of a packet's writer schema that estampa reads. fastavro skips the rest undecoded."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, cast

import fastavro

from consumer.decoding.schema import MAX_DEPTH, RESERVED, Schema
from consumer.errors import BadAlert, Reason
from model_zoo.metadata import FIELDS
from schemas import load_schema

Wanted = dict[str, "Wanted | str"]
"""Field name → the fields wanted of its record, or the primitive type that its value is wanted as."""

MAX_EXPANDED: Final = 20_000
"""Types of a schema, each counted wherever it is named; ZTF's comes to 400."""

WHOLE: Final = frozenset({"int", "long"})
READ_AS: Final = {
    "string": frozenset({"string"}),
    "bytes": frozenset({"bytes"}),
    "int": WHOLE,
    "long": WHOLE,
    "float": WHOLE | {"float", "double"},
    "double": WHOLE | {"float", "double"},
}
"""Wanted type → the writer's types that are read as it."""


@cache
def wanted_fields(metadata: tuple[str, ...] = ()) -> Wanted:
    """The tree of field names of `schemas/ztf/projection.avsc`, with those of `metadata` in the candidate."""
    schema = fastavro.parse_schema(load_schema("ztf/projection"))
    named = dict(records(schema))

    def tree(record: Schema) -> Wanted:
        return {field["name"]: subtree(field["type"]) for field in record["fields"]}

    def subtree(kind: Schema) -> Wanted | str:
        record = _record_of(kind, named)
        return tree(record) if record is not None else next(part for part in _branches(kind) if part != "null")

    wanted = tree(schema)
    candidate = cast("Wanted", wanted["candidate"])
    return wanted | {"candidate": {**dict.fromkeys(metadata, "double"), **candidate}}


PUBLISHED: Final = frozenset({"ra", "dec", "magpsf", "sigmapsf", "isdiffpos"})
"""Fields of the candidate that are published and decide nothing. One of another type than ZTF's is read as null."""
OPTIONAL: Final = frozenset(
    {"schemavsn", "cutoutScience", "cutoutTemplate", "cutoutDifference", "xpos", "ypos", "ssdistnr", "ssnamenr"}
    | PUBLISHED
)
"""Fields whose absence from the schema is read as null, as is that of metadata: a head knows what is missing.

Without any other, no packet of that schema can be read.
"""


def wanted_of(writer: Schema, metadata: tuple[str, ...] = ()) -> Wanted:
    """`wanted_fields`, without what is only published where the parsed writer schema has it in another type."""
    wanted, named = wanted_fields(metadata), dict(records(writer))
    types = {field["name"]: field["type"] for field in writer["fields"]}
    candidate = _record_of(types.get("candidate", "null"), named)
    fields = wanted["candidate"]
    if candidate is None or isinstance(fields, str):
        return wanted
    present = {field["name"]: field["type"] for field in candidate["fields"]}
    unusable = {
        name
        for name in PUBLISHED.difference(metadata) & present.keys()
        if not all(_plain(branch) in {"null", *READ_AS[str(fields[name])]} for branch in _branches(present[name]))
    }
    return wanted | {"candidate": {name: kind for name, kind in fields.items() if name not in unusable}}


def _plain(kind: Schema) -> Schema | None:
    """The name of a primitive type, with attributes or without; None for any other."""
    plain = kind.get("type") if isinstance(kind, dict) and "logicalType" not in kind else kind
    return plain if isinstance(plain, str) else None


def project(writer: Schema, metadata: tuple[str, ...] = ()) -> Schema:
    """The reader schema: `writer`, an alert's record, with only the wanted fields, in the writer's own types.

    Names and types stay the writer's, so the projection resolves against every version and writer (IPAC's
    `ztf.alert`, Spark's all-nullable `topLevelRecord`). Raises BadAlert where a needed field is absent or of another
    type, and where a schema lets a few bytes mean endless work.
    """
    if not isinstance(writer, dict) or writer.get("type") != "record":
        raise BadAlert(
            Reason.WRONG_SCHEMA,
            "the container's schema is a union or a value, not an alert's record",
        )
    _extent(writer, frozenset(), {})
    return _prune(writer, wanted_of(writer, metadata), dict(records(writer)), set(), "")


def _prune(record: Schema, wanted: Wanted, named: dict[str, Schema], done: set[str], path: str) -> Schema:
    present = {field["name"]: field for field in record["fields"]}
    missing = [name for name in wanted if name not in present and name not in OPTIONAL | FIELDS]
    if missing:
        names = ", ".join(path + name for name in missing)
        raise BadAlert(Reason.WRONG_SCHEMA, f"schema {record.get('name')!r} has no field {names}; is this a ZTF alert?")
    done.add(record["name"])
    fields = []
    for name, field in present.items():
        if name in wanted:
            kind = _keep(field["type"], wanted[name], named, done, f"{path}{name}.")
            fields.append({"name": name, "type": kind})
    return {"type": "record", "name": record["name"], "fields": fields}


def _keep(kind: Schema, wanted: Wanted | str, named: dict[str, Schema], done: set[str], path: str) -> Schema:
    """`kind` with the records in it pruned; a named record is written out where it is first kept."""
    if isinstance(kind, list):
        return [_keep(branch, wanted, named, done, path) for branch in kind]
    if kind == "null":
        return kind
    record = _record_of(kind, named)
    if isinstance(wanted, str):
        plain = _plain(kind)
        if plain is None or plain not in READ_AS[wanted]:
            raise BadAlert(Reason.WRONG_SCHEMA, f"schema's {path[:-1]} is of type {_short(kind)}; {wanted} is needed")
        return plain
    if record is None:
        raise BadAlert(Reason.WRONG_SCHEMA, f"schema's {path[:-1]} is of type {_short(kind)}; a record is needed")
    return record["name"] if record["name"] in done else _prune(record, wanted, named, done, path)


@dataclass(frozen=True, slots=True)
class _Extent:
    """Of a type with every name in it replaced by the type named. types: how many. depth: how deep they nest."""

    types: int = 1
    depth: int = 1


def _extent(kind: Schema, within: frozenset[str], walked: dict[str, _Extent]) -> _Extent:
    """Walk a type, noting what is named in `walked`; Avro defines a type where it is first named.

    Raises BadAlert for types that double at each level or nest too deep, for a record that holds itself, which
    overflows the stack of fastavro's compiled reader, and for a value that takes no bytes, of which a short block may
    claim 2^63.
    """
    if isinstance(kind, list):
        return _sum(_extent(branch, within, walked) for branch in kind if branch != "null")
    if isinstance(kind, str):
        return _named_extent(kind, within, walked)
    if kind.get("name") in RESERVED:
        raise BadAlert(Reason.WRONG_SCHEMA, f"schema's type {kind['name']!r} has the name of one of Avro's own")
    inner = [field["type"] for field in kind.get("fields", ())]
    empty = kind.get("size") == 0 or (kind["type"] in {"record", "error"} and not inner)
    inner += [kind[part] for part in ("items", "values") if part in kind]
    inner += [kind["type"]] if kind["type"] == "null" or not isinstance(kind["type"], str) else []
    found = _sum(_extent(part, within | {kind.get("name", "")}, walked) for part in inner)
    if empty:
        raise _takes_no_bytes(kind)
    if found.types > MAX_EXPANDED or found.depth > MAX_DEPTH:
        bounds = f"more than {MAX_EXPANDED} types, or nests more than {MAX_DEPTH} deep"
        raise BadAlert(Reason.WRONG_SCHEMA, f"schema's {_short(kind)} comes to {bounds}; estampa reads no such schema")
    walked[kind.get("name", "")] = found
    return found


def _named_extent(kind: str, within: frozenset[str], walked: dict[str, _Extent]) -> _Extent:
    if kind in within:
        raise BadAlert(Reason.WRONG_SCHEMA, f"schema's record {kind} holds itself; estampa reads no such schema")
    if kind == "null":
        raise _takes_no_bytes(kind)
    return walked.get(kind, _Extent())


def _takes_no_bytes(kind: Schema) -> BadAlert:
    return BadAlert(Reason.WRONG_SCHEMA, f"schema's {_short(kind)} takes no bytes; estampa reads no such schema")


def _sum(parts: Iterable[_Extent]) -> _Extent:
    """Of a type that holds these."""
    types = depth = 0
    for part in parts:
        types, depth = types + part.types, max(depth, part.depth)
    return _Extent(types + 1, depth + 1)


def _short(kind: Schema) -> str:
    return repr(kind) if isinstance(kind, str) else repr(kind.get("name", kind["type"]))


def _branches(kind: Schema) -> list[Schema]:
    return kind if isinstance(kind, list) else [kind]


def _record_of(kind: Schema, named: dict[str, Schema]) -> Schema | None:
    """The record that a type is, names, or holds as a branch of a union."""
    for branch in _branches(kind):
        if isinstance(branch, str) and branch in named:
            return named[branch]
        if isinstance(branch, dict) and branch.get("type") == "record":
            return branch
    return None


def records(kind: Schema) -> Iterator[tuple[str, Schema]]:
    """Every record in a schema that fastavro has parsed, by its full name."""
    if isinstance(kind, list):
        for branch in kind:
            yield from records(branch)
    elif isinstance(kind, dict):
        if kind.get("type") == "record":
            yield kind["name"], kind
            for field in kind["fields"]:
                yield from records(field["type"])
        else:
            for part in ("type", "items", "values"):
                yield from records(kind.get(part))
