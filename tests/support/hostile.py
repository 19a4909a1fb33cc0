"""Schemas and packets that were made to stop, hang or flood whoever reads them."""

import zlib
from copy import deepcopy
from io import BytesIO
from typing import Any

import fastavro

from tests.support.packets import SCHEMA, Packet
from tests.support.raw import Json, block, body, changed_schema, container_of, long

TINY = Packet(stamps={"science": b"s", "template": b"t", "difference": b"d"})


def with_fields(*kinds: Any) -> Json:
    """`SCHEMA` and further fields of these types, behind all others."""
    schema = deepcopy(SCHEMA)
    schema["fields"] += [{"name": f"more{number}", "type": kind} for number, kind in enumerate(kinds)]
    return schema


def record(name: str, *kinds: Any) -> Json:
    return {"type": "record", "name": name, "fields": [{"name": f"f{at}", "type": one} for at, one in enumerate(kinds)]}


def fixed(size: Any, name: Any = "blob") -> Json:
    return {"type": "fixed", "name": name, "size": size}


def doubling(levels: int) -> Json:
    """Each type holds the one before it twice."""
    flat = ["null", "double"]
    return with_fields(
        record("t0", flat, flat), *(record(f"t{at}", f"t{at - 1}", f"t{at - 1}") for at in range(1, levels))
    )


def chain(length: int) -> Json:
    """Types that are not nested where they are written, and are where they are named."""
    return with_fields(record("t0", "int"), *(record(f"t{at}", f"t{at - 1}") for at in range(1, length)))


def nested(depth: int) -> Json:
    kind: Any = "int"
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return with_fields(kind)


def changed(**parts: Any) -> Json:
    return {**SCHEMA, **parts}


def of_field(**parts: Any) -> Json:
    return changed_schema(lambda fields, _: fields["publisher"].update(parts))


SCHEMAS: dict[str, tuple[Any, str]] = {
    "fixed of 2^31": (with_fields(fixed(2**31)), "a fixed has size '2147483648'"),
    "fixed of 10^400": (with_fields(fixed(10**400)), "a fixed has size '10000"),
    "fixed of -1": (with_fields({"type": "array", "items": fixed(-1)}), "a fixed has size '-1'"),
    "fixed of null": (with_fields(fixed(None)), "a fixed has size 'None'"),
    "fixed of text": (with_fields(fixed("x")), "a fixed has size"),
    "fixed of a list": (with_fields(fixed([])), "a fixed has size 'list'"),
    "fixed of true": (with_fields(fixed(True)), "a fixed has size 'True'"),
    "fixed of 1.0": (with_fields(fixed(1.0)), "a fixed has size '1.0'"),
    "doubling": (doubling(31), "comes to more than 20000 types"),
    "doubling that nests no deeper than may be": (doubling(20), "comes to more than 20000 types"),
    "chain": (chain(3000), "estampa reads no such schema"),
    "chain of few types": (chain(40), "nests more than 32 deep"),
    "nested": (nested(40), "nest more than 32 deep"),
    "wrapped": ({"type": {"type": {"type": nested(40)}}}, "nest more than 32 deep"),
    "too many types": (with_fields(*["int"] * 10_001), "more than 10000 types"),
    "union of unions": (with_fields([["int", "long"], "null"]), "a union is a branch of a union"),
    "empty union": (with_fields([]), "a union has no branch"),
    "zero-length items": (with_fields({"type": "array", "items": fixed(0)}), "takes no bytes"),
    "zero-length values": (with_fields({"type": "array", "items": record("void")}), "takes no bytes"),
    "surrogate in a type's name": (with_fields(fixed(3, "a\ud800")), r"'a\ud800', is no valid Unicode"),
    "surrogate in the record's name": (changed(name="a\udfff"), "is no valid Unicode"),
    "surrogate in a namespace": (changed(namespace="\ud800"), "is no valid Unicode"),
    "surrogate in a field's name": (of_field(name="\ud800"), "is no valid Unicode"),
    "surrogate in a type": (with_fields("\ud800"), "is no valid Unicode"),
    "surrogate in the version": (changed(version="\ud800"), "is no valid Unicode"),
    "name of 400 kB": (changed(name="x" * 400_000), "has 400000 characters"),
    "type of 400 kB": (with_fields("x" * 400_000), "has 400000 characters"),
    "version of 400 kB": (changed(version="4" * 400_000), "has 400000 characters"),
    "version that is a list": (changed(version=[]), "a version is of type list"),
    "name that is a number": (changed(name=7), "a name is of type int"),
    "field without a name": (of_field(name=None), "a field's name is of type NoneType"),
    "fields that are a map": (changed(fields={}), "a record's fields"),
    "field that is text": (changed(fields=["objectId"]), "a record's fields"),
    "two fields of one name": (changed_schema(lambda _, one: one["rb"].update(name="jd")), "two fields 'jd'"),
    "type with the name of a primitive": (
        with_fields({**record("int", "long"), "namespace": ""}),
        "name of one of Avro's own",
    ),
    "alert with the name of a primitive": (changed(name="null"), "name of one of Avro's own"),
    "two types of one name": (with_fields(fixed(3), fixed(4)), "redefined named type: ztf.blob"),
    "type that is a number": (with_fields(7), "a type is int"),
    "type that is null": (with_fields({"type": None}), "of type NoneType"),
    "array without items": (with_fields({"type": "array"}), "a type is null"),
    "fastavro's own marks": (
        {**with_fields("nowhere"), "__fastavro_parsed": True, "__named_schemas": {}},
        "UnknownType: ztf.nowhere",
    ),
    "a header of 600 kB": (changed(doc="x" * 600_000), "header is longer than 524288 bytes"),
}
"""What is wrong → the schema, and the words it is refused with."""


def of_schema(schema: Any) -> bytes:
    return container_of(schema, [block(body(TINY))])


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def compressed(schema: Any, data: bytes, count: int = 1) -> bytes:
    return container_of(schema, [block(deflated(data), count)], "deflate")


def encoded(schema: Any, packet: Packet = TINY, **more: Any) -> bytes:
    """A record, without its container."""
    out = BytesIO()
    fastavro.schemaless_writer(out, schema, packet.record() | more)
    return out.getvalue()


def many_values(count: int) -> bytes:
    """A few kilobytes that hold so many, of a schema that only fastavro reads: a wanted field has two types."""
    schema = changed_schema(lambda _, candidate: candidate["jd"].update(type=["float", "double"]))
    schema["fields"].append({"name": "more", "type": {"type": "array", "items": "int"}})
    return compressed(schema, encoded(schema, more=[])[:-1] + long(count) + bytes(count) + b"\0")


def flood(records: int, packet: Packet) -> bytes:
    """One compressed block of the same record again and again."""
    return compressed(SCHEMA, body(packet) * records, records)


def unknown(number: int, size: int = 0) -> bytes:
    """A good packet of a schema of its own, its header of `size` bytes and some more."""
    return container_of(changed(doc=f"{number:09d}" + "x" * size), [block(body(TINY))])
