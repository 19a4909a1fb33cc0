"""The part of a packet's writer schema that estampa reads. fastavro skips the rest undecoded."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from consumer.errors import BadAlert, Reason
from schemas import load_schema

Schema = Any
Wanted = dict[str, "Wanted | None"]
"""Field name → the fields wanted of its record, or None for a value taken whole."""


@cache
def wanted_fields() -> Wanted:
    """The tree of field names of `schemas/ztf/projection.avsc`."""
    schema = load_schema("ztf/projection")
    named = dict(_records(schema))

    def tree(record: Schema) -> Wanted:
        return {field["name"]: subtree(field["type"]) for field in record["fields"]}

    def subtree(kind: Schema) -> Wanted | None:
        record = _record_of(kind, named)
        return None if record is None else tree(record)

    return tree(schema)


OPTIONAL: Final = frozenset(
    {"schemavsn", "cutoutScience", "cutoutTemplate", "cutoutDifference", "xpos", "ypos", "ssdistnr", "ssnamenr"}
)
"""Fields whose absence from the schema is read as null. Without any other, no packet of that schema can be read."""


def project(writer: Schema) -> Schema:
    """The reader schema: `writer`, an alert's record, with only the wanted fields, in the writer's own types.

    Names and types stay the writer's, so the projection resolves against every version and writer (IPAC's
    `ztf.alert`, Spark's all-nullable `topLevelRecord`). Raises BadAlert where a needed field is absent.
    """
    if not isinstance(writer, dict) or writer.get("type") != "record":
        raise BadAlert(
            Reason.WRONG_SCHEMA,
            "the container's schema is a union or a value, not an alert's record",
        )
    return _prune(writer, wanted_fields(), dict(_records(writer)), set(), "")


def _prune(record: Schema, wanted: Wanted, named: dict[str, Schema], done: set[str], path: str) -> Schema:
    present = {field["name"]: field for field in record["fields"]}
    missing = [name for name in wanted if name not in present and name not in OPTIONAL]
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


def _keep(kind: Schema, wanted: Wanted | None, named: dict[str, Schema], done: set[str], path: str) -> Schema:
    """`kind` with the records in it pruned; a named record is written out where it is first kept."""
    if isinstance(kind, list):
        return [_keep(branch, wanted, named, done, path) for branch in kind]
    name = kind if isinstance(kind, str) else kind.get("name")
    if name in done:
        return name
    record = _record_of(kind, named)
    if record is None or wanted is None:
        return kind
    return _prune(record, wanted, named, done, path)


def _record_of(kind: Schema, named: dict[str, Schema]) -> Schema | None:
    """The record that a type is, names, or holds as a branch of a union."""
    branches = kind if isinstance(kind, list) else [kind]
    for branch in branches:
        if isinstance(branch, str) and branch in named:
            return named[branch]
        if isinstance(branch, dict) and branch.get("type") == "record":
            return branch
    return None


def _records(kind: Schema) -> Iterator[tuple[str, Schema]]:
    """Every record in a schema that fastavro has parsed or that spells its names in full, by name."""
    if isinstance(kind, list):
        for branch in kind:
            yield from _records(branch)
    elif isinstance(kind, dict):
        if kind.get("type") == "record":
            yield kind["name"], kind
            space = f"{kind['namespace']}." if "namespace" in kind else ""
            yield space + kind["name"], kind
            for field in kind["fields"]:
                yield from _records(field["type"])
        else:
            for part in ("type", "items", "values"):
                yield from _records(kind.get(part))
