"""One packet is one dead letter and some milliseconds, whatever its schema says: see tests/support/hostile.py."""

import json
import struct
import tracemalloc
from collections import Counter
from io import BytesIO
from typing import Any

import fastavro
import pytest

from consumer.configuration.settings import LimitSettings, Settings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.decoding import packet as packets
from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.container import HEADER_BYTES
from consumer.decoding.layout import MAX_VALUES, layout
from consumer.decoding.packet import KNOWN_BYTES, KNOWN_SCHEMAS, PacketReader
from consumer.errors import BadAlert, Reason
from consumer.message import Message
from tests.support import hostile
from tests.support.hostile import SCHEMAS, TINY, compressed, encoded, flood, many_values, unknown, with_fields
from tests.support.loop import GOOD, Line
from tests.support.packets import SCHEMA, Packet
from tests.support.raw import FastavroReader, block, body, changed_schema, container_of, long, written

MAX = 16 * 2**20
BAD_RECORD = TINY.at(fid=0)
"""A record that is read to its end, and refused: a bad one among others."""


def outcomes(payload: bytes, reader: PacketReader | None = None) -> list[Alert | BadAlert]:
    return list(read_alerts(payload, MAX, reader or PacketReader()))


def refusal(payload: bytes, reader: PacketReader | None = None) -> BadAlert:
    *_, bad = outcomes(payload, reader)
    assert isinstance(bad, BadAlert)
    return bad


# Schemas


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_hostile_schema_is_refused_in_words_that_can_be_published(name: str) -> None:
    schema, said = SCHEMAS[name]
    bad = refusal(hostile.of_schema(schema))
    assert bad.reason is (Reason.TOO_LARGE if "header" in said else Reason.WRONG_SCHEMA)
    assert said in str(bad)
    assert len(str(bad)) < 600
    assert DeadLetter.of(Message(b"x", "night", 0, 0), 0, bad).headers()[1][1] == str(bad).encode()


@pytest.mark.parametrize("name", [name for name in SCHEMAS if "400 kB" not in name and "header" not in name])
def test_a_hostile_schema_among_good_packets_leaves_them_untouched(name: str) -> None:
    line = Line()
    line.run([GOOD[0], hostile.of_schema(SCHEMAS[name][0]), GOOD[1]])
    assert (line.candids(), line.reasons()) == ([1, 2], [Reason.WRONG_SCHEMA])


def test_what_nests_or_doubles_within_bounds_is_read() -> None:
    for schema in (hostile.nested(20), hostile.chain(25), hostile.doubling(10)):
        assert layout(json.dumps(schema).encode()).version == "3.3"


def test_a_schema_at_its_largest_is_held_in_a_few_megabytes() -> None:
    kinds = [{"type": "record", "name": f"r{at}", "fields": [{"name": "a", "type": "long"}]} for at in range(4_500)]
    payload = container_of(with_fields(*kinds), [])
    assert HEADER_BYTES * 0.8 < len(payload) < HEADER_BYTES
    reader = PacketReader()
    tracemalloc.start()
    try:
        assert list(reader.read(payload)) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 24 * len(payload)


def test_symbols_defaults_aliases_and_logical_types_of_what_is_passed_over_are_not_looked_at() -> None:
    odd: list[Any] = [
        {"type": "enum", "name": "e", "symbols": "no list"},
        {"type": "bytes", "logicalType": "decimal", "precision": -7, "scale": "x"},
        {"type": "long", "logicalType": 9},
    ]
    schema = with_fields(*odd)
    schema["fields"][0] |= {"default": 7, "aliases": "no list", "order": [], "doc": "\ud800"}
    [alert] = outcomes(container_of(schema, [block(body(TINY) + long(3) + long(1) + b"x" + long(5))]))
    assert isinstance(alert, Alert)
    assert alert.candid == TINY.candid


def test_text_that_is_not_unicode_in_a_record_is_corrupt() -> None:
    whole = body(TINY)
    assert whole.count(b"ZTF26aaaaaaa") == 1
    for wrong in (b"ZTF26a\xed\xa0\x80aaa", b"ZTF26aaaaaa\xff"):
        assert refusal(container_of(SCHEMA, [block(whole.replace(b"ZTF26aaaaaaa", wrong))])).reason is Reason.CORRUPT


# Records


@pytest.mark.parametrize("item", ["double", "float", "boolean", hostile.fixed(8)])
@pytest.mark.parametrize("kind", [PacketReader, FastavroReader])
def test_items_that_are_claimed_and_not_there_end_with_the_bytes(item: Any, kind: type[PacketReader]) -> None:
    """fastavro passes over such items without looking for the end: 2^40 of them are hours in which no thread runs."""
    schema = with_fields({"type": "array", "items": item})
    claimed = container_of(schema, [block(body(TINY) + long(2**40) + struct.pack("<d", 1.0))])
    assert refusal(claimed, kind()).reason is Reason.CORRUPT


def test_more_values_than_a_packet_has_are_not_read_to_their_end() -> None:
    bad = refusal(many_values(MAX_VALUES))
    assert (bad.reason, str(bad)) == (Reason.TOO_LARGE, f"packet has more than {MAX_VALUES} values")
    [alert] = outcomes(many_values(10_000))
    assert isinstance(alert, Alert)


def test_the_values_of_all_records_of_a_packet_count_together() -> None:
    schema = changed_schema(lambda _, candidate: candidate["jd"].update(type=["float", "double"]))
    schema["fields"].append({"name": "more", "type": {"type": "array", "items": "int"}})
    one = encoded(schema, more=[])[:-1] + long(900_000) + bytes(900_000) + b"\0"
    found = outcomes(compressed(schema, one * 3, 3))
    assert [type(one) for one in found] == [Alert, Alert, BadAlert]


def test_records_of_a_container_are_walked_to_what_fastavro_reads() -> None:
    night = [TINY.at(candid=candid, ssnamenr=name) for candid, name in enumerate(["", "null", "é", None])]
    many = b"".join(body(one) for one in night)
    for payload in (compressed(SCHEMA, many, 4), container_of(SCHEMA, [block(many, 4), block(body(TINY))])):
        walked, read = (list(kind(("magpsf", "xpos")).read(payload)) for kind in (PacketReader, FastavroReader))
        assert [one._replace(science=bytes(one.science)) for one in walked] == read
        assert len(walked) >= 4


def test_a_stamp_of_a_compressed_block_does_not_keep_the_block() -> None:
    [alert] = outcomes(compressed(SCHEMA, body(TINY)))
    assert isinstance(alert, Alert)
    assert {type(stamp) for stamp in alert.cutouts.values()} == {bytes}


def test_a_block_that_is_not_compressed_as_its_header_says_is_corrupt_though_it_looks_like_a_record() -> None:
    """Not read as the plain record that it is."""
    payload = container_of(SCHEMA, [block(body(TINY))], "deflate")
    reader = PacketReader()
    assert list(reader.read(compressed(SCHEMA, body(TINY))))
    assert [refusal(payload, reader).reason for _ in range(2)] == [Reason.CORRUPT] * 2


def test_a_packet_inflates_no_further_than_one_block_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.decoding.container._max_block_bytes", 3 * len(body(TINY)))
    part = block(hostile.deflated(body(TINY)))
    found = outcomes(container_of(SCHEMA, [part] * 5, "deflate"))
    assert [type(one) for one in found] == [Alert, Alert, Alert, BadAlert]
    assert "limits.block_bytes" in str(found[-1])


@pytest.mark.parametrize("blocks", [[block(b"", 0)] * 2_000, [block(body(TINY) * 2_000, 2_000)]])
def test_records_behind_the_limit_are_one_dead_letter(blocks: list[bytes]) -> None:
    found = outcomes(container_of(SCHEMA, blocks), PacketReader(max_records=100))
    good = [one for one in found if isinstance(one, Alert)]
    assert len(good) == (100 if len(blocks) == 1 else 0)
    [bad] = found[len(good) :]
    assert isinstance(bad, BadAlert)
    assert bad.reason is Reason.TOO_LARGE
    assert "more than 100 records, limits.packet_records" in str(bad)


def test_a_million_records_are_read_one_by_one_up_to_the_limit() -> None:
    payload = flood(1_000_000, TINY.at(stamps=dict.fromkeys(("science", "template", "difference"))))
    tracemalloc.start()
    try:
        found = Counter(type(one) for one in read_alerts(payload, MAX, PacketReader()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == {Alert: LimitSettings().packet_records, BadAlert: 1}
    assert peak < 300 * 2**20  # the block that it inflates to, and little more


# Values


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jd": 1e300}, r"candidate\.jd .* is 1e\+300: a Julian date"),
        ({"jd": -1.0}, "a Julian date before"),
        ({"jd": 0.0}, "a Julian date before"),
        ({"object_id": "Z" * 257}, "objectId of candid 1 is 'Z+: 257 characters; at most 256"),
        ({"ssnamenr": "S" * 257, "ssdistnr": 1.0}, "ssnamenr of candid 1 is 'S+: 257 characters"),
    ],
)
def test_a_value_that_would_break_what_comes_later_is_a_bad_field(changes: dict[str, Any], said: str) -> None:
    bad = refusal(TINY.at(**changes).payload())
    assert bad.reason is Reason.BAD_FIELD
    with pytest.raises(BadAlert, match=said):
        raise bad
    assert len(str(bad)) < 300


def test_a_long_version_or_a_program_past_32_bits_is_a_bad_field() -> None:
    record = TINY.record()
    assert "schemavsn of candid 1" in str(refusal(written(SCHEMA, record | {"schemavsn": "3" * 300})))
    schema = changed_schema(lambda _, candidate: candidate["programid"].update(type="long"))
    record["candidate"]["programid"] = 2**40
    assert "programid of candid 1 is 1099511627776: a 32-bit integer" in str(refusal(written(schema, record)))


def test_the_longest_name_and_the_last_date_are_read() -> None:
    [alert] = outcomes(TINY.at(object_id="é" * 256, jd=5_373_484.0).payload())
    assert isinstance(alert, Alert)
    assert (alert.object_id, alert.jd) == ("é" * 256, 5_373_484.0)


def test_metadata_of_64_bits_is_a_number() -> None:
    schema = changed_schema(lambda _, candidate: candidate["magpsf"].update(type="long"))
    record = TINY.record()
    record["candidate"]["magpsf"] = 2**63 - 1
    [alert] = outcomes(written(schema, record), PacketReader(("magpsf",)))
    assert isinstance(alert, Alert)
    assert alert.metadata == (2**63 - 1,)


# What no bound foresaw


@pytest.mark.parametrize("raised", [ZeroDivisionError("x\ud800"), MemoryError(), RuntimeError("y" * 10**6)])
def test_whatever_the_decoder_raises_is_a_dead_letter_that_names_it(
    raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise raised

    monkeypatch.setattr(fastavro, "schemaless_reader", failing)
    line = Line()
    line.run([GOOD[0], many_values(1), GOOD[1]])
    assert line.candids() == [1, 2]
    [letter] = line.sink.dead_letters
    assert letter.reason is Reason.DECODER_FAILED
    assert type(raised).__name__ in letter.explanation
    assert len(letter.headers()[1][1] or b"") < 400


def test_whatever_a_stamp_raises_is_a_dead_letter_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def decompressobj(self, wbits: int) -> None:
            raise ZeroDivisionError(wbits)

    monkeypatch.setattr("consumer.decoding.stamps.isal_zlib", Broken())
    line = Line()
    line.run(GOOD[:2])
    assert line.reasons() == [Reason.DECODER_FAILED] * 2


# Floods


def test_a_flood_of_bad_records_is_a_few_letters_and_stops_no_run() -> None:
    line = Line()
    report = line.run([GOOD[0], flood(900, BAD_RECORD), GOOD[1]])
    assert line.candids() == [1, 2]
    reasons = Counter(line.reasons())
    assert reasons == {Reason.BAD_FIELD: 100, Reason.MANY_BAD_RECORDS: 1}
    assert line.sink.dead_letters[-1].index == 100
    assert "more than 100 alerts of this message are bad" in line.sink.dead_letters[-1].explanation
    assert report.account.read == 103


def test_letters_of_one_message_hold_its_bytes_until_they_come_to_what_one_message_may_have() -> None:
    payload = flood(50, BAD_RECORD)
    line = Line(settings=Settings(limits=LimitSettings(packet_bytes=len(payload) * 3)))
    line.run([payload])
    kept = [letter.payload for letter in line.sink.dead_letters]
    assert kept == [payload] * 3 + [None] * 47
    assert dict(line.sink.dead_letters[3].headers())["estampa.payload_omitted"] == (
        b"it is with this message's first dead letter"
    )
    assert "estampa.payload_omitted" not in dict(line.sink.dead_letters[2].headers())
    assert DeadLetter.from_headers(None, dict(line.sink.dead_letters[3].headers())).place[3] == 3


def test_private_records_do_not_end_their_message() -> None:
    line = Line()
    line.run([compressed(SCHEMA, body(Packet(programid=2)) * 300 + body(Packet(candid=7)), 301)])
    assert line.candids() == [7]


# Schemas that come and go


def test_a_flood_of_unknown_schemas_leaves_a_known_one_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, usual = PacketReader(), TINY.payload()
    for number in range(2 * KNOWN_SCHEMAS):
        assert list(reader.read(usual))
        assert list(reader.read(unknown(number)))
    monkeypatch.setattr(packets, "layout", None)
    assert list(reader.read(usual))
    assert len(reader._known) == KNOWN_SCHEMAS
    assert usual.startswith(reader._known[0].prefix)


def test_a_schema_pushed_out_is_met_once_more_and_then_walked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, usual = PacketReader(), TINY.payload()
    assert list(reader.read(usual))
    for number in range(2 * KNOWN_SCHEMAS):
        list(reader.read(unknown(number)))
    assert list(reader.read(usual))
    for name in ("layout", "read_record"):
        monkeypatch.setattr(packets, name, None)
    assert list(reader.read(usual))


def test_what_is_remembered_of_schemas_is_bounded_in_bytes() -> None:
    reader = PacketReader()
    for number in range(12):
        list(reader.read(unknown(number, 400_000)))
        assert sum(len(known.prefix) for known in reader._known) <= KNOWN_BYTES
    assert len(reader._known) == 5
    assert b"000000011" in reader._known[0].prefix


def test_the_codec_is_named_in_few_words() -> None:
    assert len(str(refusal(container_of(SCHEMA, [], "z" * 100_000)))) < 200


def test_hostile_schemas_are_read_alike_by_the_fast_way_and_the_slow_one() -> None:
    """As they are met again."""
    for schema, _ in SCHEMAS.values():
        payload = hostile.of_schema(schema)
        told = [str(refusal(payload, kind())) for kind in (PacketReader, FastavroReader)]
        assert told[0] == told[1]


def test_a_reader_of_fastavros_own_agrees_that_the_hostile_packets_of_values_are_whole() -> None:
    """Or the tests above would test damage."""
    reader = fastavro.reader(BytesIO(many_values(1_000)))
    assert len(next(iter(reader))["more"]) == 1_000  # type: ignore[index,call-overload]
