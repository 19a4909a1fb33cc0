"""What a writer schema means to us, and the records that fastavro reads by it, where the compiled walk does not.

fastavro passes over what is not wanted without looking for the end of the bytes, in C that lets no other thread run:
so it is given bytes that end, through Python, and not for ever.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from consumer.decoding.projection import project
from consumer.decoding.schema import Schema, bounded, named, refuse
from consumer.errors import BadAlert, Reason

MAX_VALUES: Final = 2_000_000
"""Reads that fastavro may make of one packet, about one a value: a second. ZTF's alerts have up to 10,000 values."""

MALFORMED: Final = (
    *(EOFError, IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError),
    *(SchemaParseException, UnknownType),
)
"""What fastavro raises on bytes or schemas that are not what they say."""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """The parsed writer schema, our projection of it, its version."""

    writer: Schema
    reader: Schema
    version: str


def layout(schema: bytes, metadata: tuple[str, ...] = ()) -> WriterSchema:
    """Parse a writer schema.

    metadata: fields of the candidate that are wanted beside those always read.

    Raises BadAlert where it is no schema, not that of a ZTF alert, or passes a bound: see `consumer.decoding.schema`.
    """
    types, version = bounded(schema)
    try:
        writer = fastavro.parse_schema(types)
        reader = fastavro.parse_schema(project(writer, metadata))
    except MALFORMED as error:
        refuse(named(error))
    return WriterSchema(writer, reader, version)


class Body:
    """Bytes of one packet for fastavro to read, block by block: never past their end, and `MAX_VALUES` times."""

    __slots__ = ("_left", "data", "position")

    def __init__(self) -> None:
        self.data, self.position, self._left = b"", 0, MAX_VALUES

    def read(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        self._left -= 1
        if self._left < 0:
            raise BadAlert(Reason.TOO_LARGE, f"packet has more than {MAX_VALUES} values")
        if size < 0 or self.position > len(self.data):
            raise EOFError(f"{size} bytes wanted where {len(self.data) - start} are left")
        return self.data[start : self.position]


def read_record(body: Body, known: WriterSchema) -> dict[str, Any]:
    """The next record, wanted fields only. Raises BadAlert where it does not follow the schema."""
    try:
        return cast("dict[str, Any]", fastavro.schemaless_reader(cast("Any", body), known.writer, known.reader))
    except MALFORMED as error:
        raise BadAlert(Reason.CORRUPT, f"record does not follow the container's schema: {named(error)}") from error
