import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from itertools import islice
from typing import Any

import cramjam
import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.container import BLOCK_BYTES, Cursor, limit_blocks, read_blocks, read_header
from consumer.decoding.layout import Body, layout, read_record
from consumer.decoding.packet import PacketFields, PacketReader
from consumer.errors import BadAlert, Reason
from tests.support.packets import SCHEMA, Packet
from tests.support.packets import container as container_of_packets
from tests.support.raw import SYNC, block, body, changed_schema, container_of, header, long, sized, without, written

INT64 = st.integers(-(2**63), 2**63 - 1)
TINY = Packet(stamps={"science": b"s", "template": b"t", "difference": b"d"})
"""Stamps that are none: for what looks at containers only."""


def records(payload: bytes) -> list[PacketFields]:
    return list(PacketReader().read(payload))


def refusal(payload: bytes) -> BadAlert:
    with pytest.raises(BadAlert) as caught:
        records(payload)
    return caught.value


# Numbers


@given(INT64)
def test_a_number_is_read_as_fastavro_wrote_it(value: int) -> None:
    cursor = Cursor(long(value))
    assert (cursor.long(), cursor.position) == (value, len(cursor.buffer))


@given(st.binary(max_size=12))
def test_any_bytes_are_a_number_or_a_bad_alert(raw: bytes) -> None:
    cursor = Cursor(raw)
    with suppress(BadAlert):
        assert abs(cursor.long()) < 2**70
    assert cursor.position <= len(raw)


def test_a_number_longer_than_64_bits_is_refused() -> None:
    with pytest.raises(BadAlert, match="longer than 64 bits"):
        Cursor(b"\xff" * 11).long()


@pytest.mark.parametrize("size", [-1, 4, 2**62])
def test_a_cursor_never_reads_past_its_end_nor_backwards(size: int) -> None:
    with pytest.raises(BadAlert, match="ends early"):
        Cursor(b"abc").take(size)


# Containers that are as they should be


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_each_codec_gives_the_same_records_as_fastavro(codec: str) -> None:
    payload = container_of_packets([Packet(candid=1), Packet(candid=2)], codec)
    expected = [record["candidate"]["jd"] for record in fastavro.reader(BytesIO(payload))]
    found = records(payload)
    assert [record.jd for record in found] == expected
    assert [record.candid for record in found] == [1, 2]


def test_records_of_several_blocks_come_in_order() -> None:
    packets = [TINY.at(candid=candid) for candid in range(5)]
    payload = container_of_packets(packets, sync_interval=1)
    found = read_header(payload)
    assert len(list(read_blocks(payload, found))) == 5
    assert [record.candid for record in records(payload)] == [0, 1, 2, 3, 4]


def test_a_container_without_blocks_has_no_record_and_no_fault() -> None:
    assert records(container_of(SCHEMA, [])) == []


def test_a_header_may_give_its_metadata_in_runs_of_negative_count() -> None:
    """Avro allows a negative count, followed by the run's size in bytes."""
    entry = sized(b"avro.schema") + sized(json.dumps(SCHEMA).encode())
    payload = b"Obj\x01" + long(-1) + long(len(entry)) + entry + b"\0" + SYNC + block(body())
    assert len(records(payload)) == 1


def test_two_schemas_that_differ_in_a_byte_are_two_layouts() -> None:
    old, new = json.dumps(SCHEMA).encode(), json.dumps({**SCHEMA, "version": "4.02"}).encode()
    assert (layout(old).version, layout(new).version) == ("3.3", "4.02")


def test_a_schema_without_a_version_has_an_empty_one() -> None:
    schema = {name: value for name, value in SCHEMA.items() if name != "version"}
    assert layout(json.dumps(schema).encode()).version == ""


def test_fields_that_are_not_wanted_are_not_read() -> None:
    body_of, found = Body(), layout(json.dumps(SCHEMA).encode())
    body_of.data = body(TINY)
    record = read_record(body_of, found)
    assert "prv_candidates" not in record
    assert "rb" not in record["candidate"]
    assert record["cutoutTemplate"] == {"stampData": b"t"}


# Containers that are not


@pytest.mark.parametrize(
    ("payload", "reason", "said"),
    [
        (b"O", Reason.NOT_AVRO, "starts with 4f"),
        (b"\x00\x00\x00\x00\x07rest", Reason.NOT_AVRO, "starts with 00 00 00 00, not"),
        (b"Obj\x01", Reason.CORRUPT, "ends early"),
        (b"Obj\x01" + long(2**40), Reason.CORRUPT, "ends early"),
        (b"Obj\x01" + long(-(2**40)) + long(5), Reason.CORRUPT, "ends early"),
        (b"Obj\x01" + long(1) + long(-5), Reason.CORRUPT, "-5 bytes wanted"),
        (header({}), Reason.CORRUPT, "no avro.schema"),
        (header({"avro.schema": b"{"}), Reason.WRONG_SCHEMA, "cannot be parsed: JSONDecodeError"),
        (header({"avro.schema": b"\xc3("}), Reason.WRONG_SCHEMA, "cannot be parsed: UnicodeDecodeError"),
        (header({"avro.schema": b'{"type": "record"}'}), Reason.WRONG_SCHEMA, "cannot be parsed"),
        (header({"avro.schema": b'{"type": "recrod", "name": "a"}'}), Reason.WRONG_SCHEMA, "cannot be parsed"),
        (
            header({"avro.schema": b'{"type": "record", "name": "a", "fields": [{"name": "b", "type": "nowhere"}]}'}),
            Reason.WRONG_SCHEMA,
            "cannot be parsed: UnknownType: nowhere",
        ),
        (header({"avro.schema": b"[" * 100_000}), Reason.WRONG_SCHEMA, "RecursionError"),
        (header({"avro.schema": b"null"}), Reason.WRONG_SCHEMA, "cannot be parsed"),
        (container_of(SCHEMA, [], "zstandard"), Reason.CODEC, "'zstandard'; estampa reads null, deflate, snappy"),
        (container_of(SCHEMA, [block(body(TINY), sync=b"x" * 16)]), Reason.CORRUPT, "sync marker"),
        (container_of(SCHEMA, [block(body(TINY), count=-1)]), Reason.CORRUPT, "sync marker"),
        (container_of(SCHEMA, [long(1) + long(2**40)]), Reason.CORRUPT, "ends early: 1099511627776 bytes wanted"),
        (container_of(SCHEMA, [long(1) + long(-8)]), Reason.CORRUPT, "-8 bytes wanted"),
        (container_of(SCHEMA, [block(body(TINY) + b"\0")]), Reason.CORRUPT, "bytes left over"),
        (container_of(SCHEMA, [block(body(TINY), count=0)]), Reason.CORRUPT, "bytes left over"),
        (container_of(SCHEMA, [block(body(TINY)[:-1])]), Reason.CORRUPT, "does not follow the container's schema"),
        (container_of(SCHEMA, [block(b"")]), Reason.CORRUPT, "does not follow the container's schema"),
        (container_of(SCHEMA, [block(long(-5) + body(TINY))]), Reason.CORRUPT, "does not follow"),
        (container_of(SCHEMA, [block(long(2**62) + body(TINY))]), Reason.CORRUPT, "does not follow"),
        (container_of(SCHEMA, [block(sized(b"\xff\xfe") + body(TINY)[4:])]), Reason.CORRUPT, "UnicodeDecodeError"),
    ],
)
def test_what_is_no_container_says_why(payload: bytes, reason: Reason, said: str) -> None:
    bad = refusal(payload)
    assert bad.reason is reason
    assert said in str(bad)


def test_a_block_that_claims_2_to_the_40_records_gives_those_it_has_and_ends() -> None:
    payload = container_of(SCHEMA, [block(body(TINY), count=2**40)])
    first, second = islice(read_alerts(payload, 2**20), 3)
    assert isinstance(first, Alert)
    assert isinstance(second, BadAlert)


def test_records_before_the_damage_are_read() -> None:
    whole = block(body(TINY.at(candid=5)))
    found = []
    with pytest.raises(BadAlert):
        found += [record.candid for record in PacketReader().read(container_of(SCHEMA, [whole, whole[:-1]]))]
    outcomes = list(read_alerts(container_of(SCHEMA, [whole, whole[:-1]]), 2**20))
    assert [type(outcome) for outcome in outcomes] == [Alert, BadAlert]


def test_schema_and_bytes_that_do_not_agree_are_a_bad_alert() -> None:
    schema = without(SCHEMA, "publisher")
    assert refusal(container_of(schema, [block(body(TINY))])).reason is Reason.CORRUPT


# Codecs


def deflated(raw: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(raw) + stream.flush()


def snapped(raw: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(raw)) + zlib.crc32(raw).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("codec", "data", "said"),
    [
        ("deflate", b"\xff\xff\xff", "deflate data is damaged"),
        ("deflate", b"", "ends early"),
        ("deflate", deflated(body(TINY))[:-3], "ends early"),
        ("snappy", b"", "snappy data is damaged"),
        ("snappy", b"abc", "snappy data is damaged"),
        ("snappy", b"\x80" * 20, "snappy data is damaged"),
        ("snappy", snapped(body(TINY))[:-1] + b"\0", "fails its CRC-32"),
        ("snappy", snapped(body(TINY))[:-9], "snappy data"),
    ],
)
def test_damaged_codec_data_is_told_as_such(codec: str, data: bytes, said: str) -> None:
    bad = refusal(container_of(SCHEMA, [block(data)], codec))
    assert bad.reason is Reason.CORRUPT
    assert said in str(bad)


@pytest.fixture
def small_limit() -> Iterator[int]:
    limit_blocks(100_000)
    yield 100_000
    limit_blocks(BLOCK_BYTES)


@pytest.mark.parametrize(("codec", "pack"), [("deflate", deflated), ("snappy", snapped)])
def test_a_block_that_inflates_past_the_limit_is_too_large_and_never_inflated_whole(
    codec: str, pack: Any, small_limit: int
) -> None:
    bad = refusal(container_of(SCHEMA, [block(pack(b"\0" * (small_limit + 1)))], codec))
    assert bad.reason is Reason.TOO_LARGE
    assert str(small_limit) in str(bad)
    assert "limits.block_bytes" in str(bad)


def test_a_snappy_block_that_claims_4_gigabytes_is_refused_by_its_claim() -> None:
    bad = refusal(container_of(SCHEMA, [block(b"\xff\xff\xff\xff\x0f1234")], "snappy"))
    assert bad.reason is Reason.TOO_LARGE


# Anything at all


@settings(max_examples=300)
@given(
    codec=st.sampled_from(["null", "deflate", "snappy"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=3)), min_size=1, max_size=4),
    keep=st.floats(0, 1),
)
def test_bytes_changed_anywhere_give_alerts_or_bad_alerts_and_nothing_else(
    codec: str, changes: list[tuple[float, bytes]], keep: float
) -> None:
    payload = bytearray(container_of_packets([TINY, TINY.at(candid=2)], codec))
    for place, new in changes:
        at = int(place * len(payload))
        payload[at : at + max(len(new), 1)] = new
    cut = bytes(payload[: int(len(payload) * min(1.0, keep * 2))])
    for outcome in islice(read_alerts(cut or b"x", 2**20), 1_000):
        assert isinstance(outcome, Alert | BadAlert)


@settings(max_examples=100)
@given(st.binary(min_size=1, max_size=200))
def test_random_bytes_are_one_bad_alert(raw: bytes) -> None:
    for payload in (raw, b"Obj\x01" + raw, header({"avro.schema": raw}), container_of(SCHEMA, [raw])):
        assert isinstance(list(read_alerts(payload, 2**20))[-1], BadAlert)


@settings(max_examples=60)
@given(INT64, st.floats(allow_nan=False, allow_infinity=False), st.text(min_size=1))
def test_values_are_read_as_they_were_written(candid: int, jd: float, name: str) -> None:
    [record] = records(written(SCHEMA, TINY.at(jd=jd, object_id=name).record() | {"candid": candid}))
    assert (record.candid, record.jd, record.objectId) == (candid, jd, name)


def test_a_spark_writers_schema_all_nullable_under_another_name_is_read() -> None:
    def change(fields: Any, candidate: Any) -> None:
        for field in [*fields.values(), *candidate.values()]:
            if not isinstance(field["type"], list):
                field["type"] = [field["type"], "null"]

    schema = {**changed_schema(change), "name": "topLevelRecord"}
    [record] = records(written(schema, TINY.record()))
    assert record.jd == TINY.jd
