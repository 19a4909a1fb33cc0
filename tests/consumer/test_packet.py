"""The compiled walk gives what fastavro gives, or leaves the packet to it."""

from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.container import read_records
from consumer.errors import BadAlert
from consumer.packet import Fields, PacketReader, fields_of
from tests.packets import Packet
from tests.raw import block, body

TINY = Packet(stamps={"science": b"s", "template": b"t", "difference": b"d"})
WHOLE = TINY.payload()
START = WHOLE.index(b"0123456789abcdef") + 16


def told(fields: Fields) -> str:
    """As text, in which NaN equals itself, and a view its bytes."""
    return str([bytes(value) if isinstance(value, memoryview) else value for value in fields])


def by_fastavro(payload: bytes) -> str:
    """The fields of each record, or why there are none."""
    found = []
    try:
        for record, known in islice(read_records(payload), 100):
            found += [told(fields_of(record, known.version))]
    except BadAlert as bad:
        return f"{found} {bad.reason}"
    return str(found)


def by_walk(payload: bytes) -> str:
    """The same, by a reader that has met the schema."""
    reader, found = PacketReader(), []
    assert list(reader.read(WHOLE))
    try:
        for fields in islice(reader.read(payload), 100):
            found += [told(fields)]
    except BadAlert as bad:
        return f"{found} {bad.reason}"
    return str(found)


def test_a_usual_packet_is_walked_to_the_fields_that_fastavro_gives() -> None:
    reader = PacketReader()
    list(reader.read(WHOLE))
    assert reader._walked(WHOLE) is not None
    assert by_walk(WHOLE) == by_fastavro(WHOLE)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - START - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_record_changed_anywhere_is_read_alike_by_both(changes: list[tuple[int, int]]) -> None:
    payload = bytearray(WHOLE)
    for place, byte in changes:
        payload[START + place] = byte
    assert by_walk(bytes(payload)) == by_fastavro(bytes(payload))


@settings(max_examples=150)
@given(st.integers(0, len(body(TINY))), st.binary(max_size=12))
def test_a_record_cut_or_lengthened_is_read_alike_by_both(at: int, new: bytes) -> None:
    raw = body(TINY)
    for changed in (raw[:at] + new, raw[:at] + new + raw[at:]):
        payload = WHOLE[:START] + block(changed)
        assert by_walk(payload) == by_fastavro(payload)
