"""The wanted fields of every record in a packet: by a compiled walk where the packet is as usual, else by fastavro.

Usual is what ZTF sends: an uncompressed container of one record, whose stamps are left in it. Both ways give equal
fields, and end: every type of a schema takes a byte at least, so that a walk is as long as its bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from consumer.decoding.compiler import Program, UnsupportedSchema, compile_program
from consumer.decoding.container import SYNC_SIZE, Cursor, Header, open_blocks, read_header
from consumer.decoding.kernels import walk
from consumer.decoding.layout import Body, WriterSchema, layout, read_record
from consumer.errors import BadAlert, Reason

KNOWN_SCHEMAS: Final = 64
"""Schemas whose headers are compared against; ZTF has had some twenty."""
KNOWN_BYTES: Final = 2**21
"""Of their headers; what is made of them takes some twenty times as much."""
MAX_RECORDS: Final = 1_000
"""In a packet, unless `limits.packet_records` says otherwise. Kafka's have one; 16 MB hold 700 of ZTF's."""


class PacketFields(NamedTuple):
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
    ra: Any
    dec: Any
    magpsf: Any
    sigmapsf: Any
    isdiffpos: Any
    xpos: Any
    ypos: Any
    ssdistnr: Any
    ssnamenr: Any
    science: Any
    template: Any
    difference: Any
    version: str
    metadata: tuple[float | None, ...] = ()


PLAIN: Final = PacketFields._fields[:-2]
TEXTS: Final = {
    "objectId": "objectId",
    "schemavsn": "schemavsn",
    "isdiffpos": "candidate.isdiffpos",
    "ssnamenr": "candidate.ssnamenr",
}
STAMPS: Final = {name.lower(): f"cutout{name}.stampData" for name in ("Science", "Template", "Difference")}
NUMBERS: Final = {
    name: f"candidate.{name}"
    for name in ("jd", "fid", "programid", "ra", "dec", "magpsf", "sigmapsf", "xpos", "ypos", "ssdistnr")
}
PATHS: Final = {"candid": "candid", **TEXTS, **NUMBERS, **STAMPS}
"""Field of `PacketFields` → its path in the packet."""


@dataclass(frozen=True, slots=True)
class Known:
    """A schema met before. prefix: a container's header, up to its sync marker.

    places: in the program, of PLAIN and then of the metadata asked for. Each is (slot, kind): kind 0 an integer,
    1 a float, 2 text, 3 bytes; slot -1 a field that the schema lacks.
    """

    prefix: bytes
    compressed: bool
    layout: WriterSchema
    program: Program | None
    places: tuple[tuple[int, int], ...]
    version: str


class PacketReader:
    """Reads packets, remembering the schemas it met lately. It may be used from several threads at once.

    max_records: in a packet; what is behind them is not read.
    """

    def __init__(self, metadata: tuple[str, ...] = (), max_records: int = MAX_RECORDS) -> None:
        self._metadata, self._max_records = metadata, max_records
        self._known: tuple[Known, ...] = ()

    def read(self, payload: bytes) -> Iterator[PacketFields]:
        """Fields of each record. Raises BadAlert at the first thing that cannot be read."""
        known = self._known_schema(payload)
        start, end = (0, 0) if known.compressed else _only_record(payload, len(known.prefix))
        usual = self._walked(known, payload, start, end) if end else None
        if usual is not None and usual[1] == end:
            yield usual[0]
        else:
            yield from self._each(known, payload)

    def _each(self, known: Known, payload: bytes) -> Iterator[PacketFields]:
        """The records of any container. A block without one counts as one: a million of them are no packet."""
        body, records = Body(), 0
        for block in open_blocks(payload, read_header(payload)):
            body.data, body.position = block.data, 0
            for _ in range(max(block.count, 1)):
                records += 1
                if records > self._max_records:
                    limit = f"{self._max_records} records, limits.packet_records"
                    raise BadAlert(Reason.TOO_LARGE, f"packet has more than {limit}; the others were not read")
                if block.count:
                    yield self._record(known, body)
            if body.position != len(block.data):
                raise BadAlert(Reason.CORRUPT, f"block at byte {block.start} has bytes left over after its last record")

    def _record(self, known: Known, body: Body) -> PacketFields:
        """The next one: walked where it can be, else read by fastavro."""
        walked = self._walked(known, body.data, body.position, len(body.data))
        if walked is None:
            return fields_of(read_record(body, known.layout), known.version, self._metadata)
        body.position = walked[1]
        return _copied(walked[0])

    def _walked(self, known: Known, data: bytes, start: int, end: int) -> tuple[PacketFields, int] | None:
        """The record at `start` and the place after it; None where anything is unexpected."""
        program = known.program
        if program is None:
            return None
        taken = np.zeros((len(program.slots), 3), np.int64)
        numbers = np.zeros(len(program.slots))
        after = walk(np.frombuffer(data, np.uint8), start, end, program.instructions, program.targets, taken, numbers)
        if after < 0:
            return None
        try:
            return _collected(data, known, taken.tolist(), numbers.tolist()), after
        except UnicodeDecodeError:
            return None

    def _known_schema(self, payload: bytes) -> Known:
        """The one found moves to the front, so that a flood of others pushes out what is not used."""
        for known in self._known:
            if payload.startswith(known.prefix):
                break
        else:
            known = _meet(payload, read_header(payload), self._metadata)
        if not self._known or known is not self._known[0]:
            self._remember(known)
        return known

    def _remember(self, newest: Known) -> None:
        kept, size = [newest], len(newest.prefix)
        for known in self._known:
            size += len(known.prefix) if known is not newest else 0
            if len(kept) < KNOWN_SCHEMAS and size <= KNOWN_BYTES and known is not newest:
                kept.append(known)
        self._known = tuple(kept)


def fields_of(record: dict[str, Any], version: str, metadata: tuple[str, ...] = ()) -> PacketFields:
    """From a record as fastavro gives it."""
    plain = (_at(record, PATHS[name]) for name in PLAIN)
    return PacketFields._make([*plain, version, tuple(_at(record, f"candidate.{name}") for name in metadata)])


def _at(record: dict[str, Any], path: str) -> Any:
    value: Any = record
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _meet(payload: bytes, header: Header, metadata: tuple[str, ...]) -> Known:
    found = layout(header.schema, metadata)
    try:
        program = compile_program(found.writer, metadata)
    except UnsupportedSchema:
        program = None
    paths = [*(PATHS[name] for name in PLAIN), *(f"candidate.{name}" for name in metadata)]
    places = tuple(_place(path, program) for path in paths) if program else ()
    prefix = payload[: header.size - SYNC_SIZE]
    return Known(prefix, header.codec != "null", found, program, places, found.version)


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


def _collected(data: bytes, known: Known, taken: list[list[int]], numbers: list[float]) -> PacketFields:
    values: list[Any] = []
    whole = memoryview(data)
    for slot, kind in known.places:
        present, value, end = taken[slot] if slot >= 0 else (0, 0, 0)
        if not present:
            values.append(None)
        elif kind == 0:
            values.append(value)
        elif kind == 1:
            values.append(numbers[slot])
        else:
            values.append(data[value:end].decode() if kind == 2 else whole[value:end])
    plain = len(PLAIN)
    return PacketFields._make([*values[:plain], known.version, tuple(values[plain:])])


def _copied(fields: PacketFields) -> PacketFields:
    """With stamps of their own: a view would keep the whole of an inflated block."""
    science, template, difference = (
        view and bytes(view) for view in (fields.science, fields.template, fields.difference)
    )
    return fields._replace(science=science, template=template, difference=difference)
