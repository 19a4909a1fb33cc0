"""The wanted fields of every record in a packet: by a compiled walk where the packet is as usual, else by fastavro.

Usual is what ZTF sends: an uncompressed container of one record, of a schema met before. Both ways give equal fields.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from consumer.container import SYNC_SIZE, Cursor, Header, layout, read_header, read_records
from consumer.errors import BadAlert
from consumer.kernels import walk
from consumer.program import Program, UnsupportedSchema, compile_program

KNOWN_SCHEMAS: Final = 64
"""Schemas whose headers are compared against; ZTF has had some twenty. One met after these is read by fastavro."""


class Fields(NamedTuple):
    """A record's wanted fields, as its writer typed them; None where absent or null.

    Stamps are gzip FITS: bytes, or a view of the packet, which a stamp need not be copied from.
    version: of the schema, as its writer noted it there. metadata: numbers, of the fields that a reader was asked for.
    """

    candid: Any
    objectId: Any  # noqa: N815 - as in the packet
    schemavsn: Any
    jd: Any
    fid: Any
    programid: Any
    xpos: Any
    ypos: Any
    ssdistnr: Any
    ssnamenr: Any
    science: Any
    template: Any
    difference: Any
    version: str
    metadata: tuple[float | None, ...] = ()


PLAIN: Final = Fields._fields[:-2]
TEXTS: Final = {"objectId": "objectId", "schemavsn": "schemavsn", "ssnamenr": "candidate.ssnamenr"}
STAMPS: Final = {name.lower(): f"cutout{name}.stampData" for name in ("Science", "Template", "Difference")}
NUMBERS: Final = {name: f"candidate.{name}" for name in ("jd", "fid", "programid", "xpos", "ypos", "ssdistnr")}
PATHS: Final = {"candid": "candid", **TEXTS, **NUMBERS, **STAMPS}
"""Field of `Fields` → its path in the packet."""


@dataclass(frozen=True, slots=True)
class Known:
    """A schema met before. prefix: a container's header, up to its sync marker.

    places: in the program, of PLAIN and then of the metadata asked for. Each is (slot, kind): kind 0 an integer,
    1 a float, 2 text, 3 bytes; slot -1 a field that the schema lacks.
    """

    prefix: bytes
    program: Program | None
    places: tuple[tuple[int, int], ...]
    version: str


class PacketReader:
    """Reads packets, remembering the schemas it met. It may be used from several threads at once."""

    def __init__(self, metadata: tuple[str, ...] = ()) -> None:
        self._metadata = metadata
        self._known: list[Known] = []

    def read(self, payload: bytes) -> Iterator[Fields]:
        """Fields of each record. Raises BadAlert at the first thing that cannot be read."""
        fields = self._walked(payload)
        if fields is not None:
            yield fields
            return
        for record, known in read_records(payload, self._metadata):
            yield fields_of(record, known.version, self._metadata)

    def _walked(self, payload: bytes) -> Fields | None:
        """The one record of a usual packet; None for any other, and for one in which anything is unexpected."""
        known = self._known_schema(payload)
        if known is None or known.program is None:
            return None
        program = known.program
        data = np.frombuffer(payload, np.uint8)
        taken = np.zeros((len(program.slots), 3), np.int64)
        numbers = np.zeros(len(program.slots))
        start, end = _only_record(payload, len(known.prefix))
        if walk(data, start, end, program.instructions, program.targets, taken, numbers) != end or end == 0:
            return None
        try:
            return _collected(payload, known, taken.tolist(), numbers.tolist())
        except UnicodeDecodeError:
            return None

    def _known_schema(self, payload: bytes) -> Known | None:
        for known in self._known:
            if payload.startswith(known.prefix):
                return known
        if len(self._known) >= KNOWN_SCHEMAS:
            return None
        known = _meet(payload, read_header(payload), self._metadata)
        self._known.append(known)
        return known


def fields_of(record: dict[str, Any], version: str, metadata: tuple[str, ...] = ()) -> Fields:
    """From a record as fastavro gives it."""
    plain = (_at(record, PATHS[name]) for name in PLAIN)
    return Fields._make([*plain, version, tuple(_at(record, f"candidate.{name}") for name in metadata)])


def _at(record: dict[str, Any], path: str) -> Any:
    value: Any = record
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _meet(payload: bytes, header: Header, metadata: tuple[str, ...]) -> Known:
    prefix = payload[: header.size - SYNC_SIZE]
    known = layout(header.schema, metadata)
    try:
        program = compile_program(known.writer, metadata) if header.codec == "null" else None
    except UnsupportedSchema:
        program = None
    paths = [*(PATHS[name] for name in PLAIN), *(f"candidate.{name}" for name in metadata)]
    places = tuple(_place(path, program) for path in paths) if program else ()
    return Known(prefix, program, places, known.version)


def _place(path: str, program: Program) -> tuple[int, int]:
    slot = program.slots.get(path, -1)
    if path in TEXTS.values() or path in STAMPS.values():
        return slot, 2 if path in TEXTS.values() else 3
    return slot, int(slot in program.floats)


def _only_record(payload: bytes, prefix: int) -> tuple[int, int]:
    """Start and end of the record where the container has one block of one record and nothing after it; else (0, 0)."""
    cursor = Cursor(payload, prefix + SYNC_SIZE)
    try:
        count, size = cursor.long(), cursor.long()
    except BadAlert:
        return 0, 0
    start, end = cursor.position, cursor.position + size
    sync = payload[prefix : prefix + SYNC_SIZE]
    usual = count == 1 and size > 0 and end + SYNC_SIZE == len(payload) and payload.endswith(sync)
    return (start, end) if usual else (0, 0)


def _collected(payload: bytes, known: Known, taken: list[list[int]], numbers: list[float]) -> Fields:
    values: list[Any] = []
    whole = memoryview(payload)
    for slot, kind in known.places:
        present, value, end = taken[slot] if slot >= 0 else (0, 0, 0)
        if not present:
            values.append(None)
        elif kind == 0:
            values.append(value)
        elif kind == 1:
            values.append(numbers[slot])
        else:
            values.append(payload[value:end].decode() if kind == 2 else whole[value:end])
    plain = len(PLAIN)
    return Fields._make([*values[:plain], known.version, tuple(values[plain:])])
