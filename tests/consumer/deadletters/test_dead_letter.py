from collections.abc import Sequence

import pytest

from consumer.deadletters.dead_letter import RATIO_OVER, DeadLetter, DeadLetterLimit
from consumer.errors import BadAlert, Reason, TooManyBadAlerts
from consumer.message import Message
from schemas import load_schema
from tests.support.makers import dead

BAD, GOOD = Reason.CORRUPT, None
Outcomes = Sequence[Reason | None]


def test_a_dead_letter_keeps_the_original_bytes_untouched() -> None:
    payload = bytes(range(256))
    letter = DeadLetter.of(Message(payload, "topic", 1, 9), 0, BadAlert(BAD, "why"))
    assert letter.payload == payload
    assert letter.record()["payload"] == payload


def test_a_dead_letter_says_where_it_came_from_when_and_why() -> None:
    record = DeadLetter.of(Message(b"x", "topic", 1, 9), 4, BadAlert(Reason.EMPTY, "message is empty")).record()
    assert (record["source"], record["partition"], record["position"], record["record"]) == ("topic", 1, 9, 4)
    assert (record["reason"], record["message"]) == ("empty_message", "message is empty")
    assert record["time"] > 1_700_000_000_000


def test_headers_are_the_record_without_the_payload() -> None:
    headers = dict(dead().headers())
    assert headers == {
        "estampa.reason": b"corrupt_container",
        "estampa.message": b"what was wrong",
        "estampa.source": b"ztf_20260101_programid1",
        "estampa.partition": b"3",
        "estampa.position": b"7",
        "estampa.record": b"2",
        "estampa.time": b"1700000000500",
    }


def test_fields_are_those_of_the_schema_by_name_and_in_order() -> None:
    schema = load_schema("deadletter/1/dead_letter")
    assert list(dead().record()) == [field["name"] for field in schema["fields"]]


def test_a_tombstone_has_no_bytes() -> None:
    assert dead(Reason.TOMBSTONE, payload=None).payload is None


def test_a_private_alerts_bytes_do_not_leave() -> None:
    letter = dead(Reason.PRIVATE)
    assert letter.payload is None
    assert letter.record()["payload"] is None


def test_reasons_are_words_of_a_fixed_list() -> None:
    """They are part of the output's contract: to rename one breaks its readers."""
    assert {str(reason) for reason in Reason} >= {
        "tombstone",
        "empty_message",
        "too_large",
        "not_an_avro_container",
        "corrupt_container",
        "unknown_codec",
        "wrong_schema",
        "bad_field",
        "programid_not_admitted",
        "missing_cutout",
        "unreadable_stamp",
        "stamp_shape",
        "blank_stamp",
        "infinite_pixel",
        "many_bad_records",
        "decoder_failed",
    }


# How many are too many


def stops_after(outcomes: Outcomes, ratio: float = 1.0, run: int = 10_000) -> int | None:
    """How many outcomes are taken before the bound stops the run; None where it does not."""
    bound = DeadLetterLimit(ratio, run)
    for count, outcome in enumerate(outcomes, 1):
        try:
            bound.check([outcome])
        except TooManyBadAlerts:
            return count
    return None


def test_a_letter_whose_headers_say_nothing_is_known_by_where_it_lies() -> None:
    here = Message(b"bytes", "dead-letters", 1, 7, 1_700_000_000_000)
    letter = DeadLetter.unreadable(here, "reason is missing")
    assert (letter.place, letter.payload, letter.time_ms) == (("dead-letters", 1, 7, 0), b"bytes", here.timestamp_ms)
    assert letter.reason is Reason.UNKNOWN
    assert "headers cannot be read: reason is missing" in letter.explanation


def test_a_run_of_bad_alerts_stops() -> None:
    assert stops_after([BAD] * 20, run=5) == 5


def test_a_good_alert_ends_a_run() -> None:
    assert stops_after([*[BAD] * 4, GOOD] * 50, run=5) is None


def test_a_run_goes_on_from_batch_to_batch() -> None:
    bound = DeadLetterLimit(1.0, 5)
    bound.check([BAD, BAD, BAD])
    with pytest.raises(TooManyBadAlerts, match="5 alerts in a row"):
        bound.check([BAD, BAD])


def test_a_share_of_the_last_1000_stops() -> None:
    assert RATIO_OVER == 1_000
    assert stops_after([BAD, GOOD] * 1_000, ratio=0.499) == 999
    assert stops_after([BAD, GOOD] * 5_000, ratio=0.5) is None


def test_a_share_is_of_the_latest_only() -> None:
    assert stops_after([*[BAD, GOOD] * 200, *[GOOD] * 1_000, *[BAD, GOOD] * 200], ratio=0.25) is None


def test_a_few_bad_alerts_at_the_start_are_no_large_share() -> None:
    assert stops_after([BAD, *[GOOD] * 50], ratio=0.1) is None


def test_alerts_of_programs_that_are_not_admitted_are_no_fault() -> None:
    assert stops_after([Reason.PRIVATE] * 5_000, ratio=0.01, run=2) is None


def test_the_message_says_how_many_the_last_reason_and_the_setting() -> None:
    with pytest.raises(TooManyBadAlerts) as caught:
        DeadLetterLimit(1.0, 3).check([BAD, BAD, Reason.BAD_FIELD])
    said = str(caught.value)
    assert "3 alerts in a row" in said
    assert "the last for bad_field" in said
    assert "limits.dead_letter_run" in said
