"""The compiled walk gives what fastavro gives, or leaves the packet to it."""

from itertools import islice
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decoding import packet
from consumer.decoding.packet import PLAIN, PacketFields, PacketReader
from consumer.errors import BadAlert
from tests.support.packets import SCHEMA, Packet, container
from tests.support.raw import FastavroReader, block, body, changed_schema, without, written

TINY = Packet(stamps={"science": b"s", "template": b"t", "difference": b"d"})
WHOLE = TINY.payload()
START = WHOLE.index(b"0123456789abcdef") + 16
SEEN = ("magpsf", "srmag1", "xpos", "jd")
"""Metadata: one field that is read for it alone, one that the schema lacks, two that are read anyway."""


def told(fields: PacketFields) -> str:
    """As text, in which NaN equals itself, and a view its bytes."""
    return str([bytes(value) if isinstance(value, memoryview) else value for value in fields])


def by_fastavro(payload: bytes) -> str:
    """The fields of each record, or why there are none."""
    found = []
    try:
        for fields in islice(FastavroReader(SEEN).read(payload), 100):
            found += [told(fields)]
    except BadAlert as bad:
        return f"{found} {bad.reason}"
    return str(found)


def by_walk(payload: bytes) -> str:
    """The same, by a reader that has met the schema."""
    reader, found = PacketReader(SEEN), []
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
    with mock.patch.object(packet, "read_record", None):
        assert list(reader.read(WHOLE))
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


def test_metadata_is_read_where_it_is_asked_for_and_absent_fields_are_none() -> None:
    [first], [second] = (list(PacketReader(SEEN).read(WHOLE)) for _ in range(2))
    assert first.metadata == second.metadata == (18.5, None, 1500.0, TINY.jd)
    [without] = PacketReader().read(WHOLE)
    assert without.metadata == ()
    assert without == first._replace(metadata=())


def test_a_null_is_none_in_metadata() -> None:
    [fields] = PacketReader(SEEN).read(TINY.at(xpos=None).payload())
    assert fields.metadata == (18.5, None, None, TINY.jd)


def test_a_reader_without_metadata_takes_no_more_from_a_packet_than_before() -> None:
    plain, seeing = PacketReader(), PacketReader((*SEEN, "rb"))
    for reader in (plain, seeing):
        list(reader.read(WHOLE))
    taken = [len(reader._known[0].program.slots) for reader in (plain, seeing) if reader._known[0].program]
    absent = 4  # ra, dec, sigmapsf and isdiffpos are not in this schema
    assert taken == [len(PLAIN) - absent, len(PLAIN) - absent + 1]


def test_metadata_of_another_type_is_a_bad_alert_that_names_the_field() -> None:
    schema = changed_schema(lambda _, candidate: candidate["magpsf"].update(type="string"))
    record = TINY.record()
    record["candidate"]["magpsf"] = "18.5"
    payload = written(schema, record)
    assert list(PacketReader().read(payload))
    with pytest.raises(BadAlert, match=r"candidate\.magpsf is of type 'string'; float is needed"):
        list(PacketReader(SEEN).read(payload))


def test_a_packet_of_as_many_records_as_the_limit_is_read_whole() -> None:
    assert len(list(PacketReader(max_records=3).read(container([TINY] * 3)))) == 3


def test_a_reader_keeps_the_schemas_that_it_met() -> None:
    reader, other = PacketReader(), written(without(SCHEMA, "candidate.xpos"), TINY.record())
    for payload in (WHOLE, other):
        list(reader.read(payload))
    newest, before = reader._known
    assert other.startswith(newest.prefix)
    assert WHOLE.startswith(before.prefix)
