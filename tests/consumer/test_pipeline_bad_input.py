"""What cannot be classified, among what can: dead letters, and the rest untouched."""

from dataclasses import replace

import numpy as np
import pytest

from consumer.configuration.settings import LimitSettings, Settings
from consumer.errors import Reason, TooManyBadAlerts
from tests.support.loop import GOOD, NIGHT, Line
from tests.support.packets import Packet, container, packed
from tests.support.raw import written

INF = np.full((63, 63), 5.0)
INF[3, 3] = np.inf
ALIEN = written(
    {"type": "record", "name": "lsst", "fields": [{"name": "diaSourceId", "type": "long"}]}, {"diaSourceId": 1}
)
BAD: dict[str, tuple[bytes | None, Reason]] = {
    "a tombstone": (None, Reason.TOMBSTONE),
    "an empty message": (b"", Reason.EMPTY),
    "random bytes": (bytes(range(100)), Reason.NOT_AVRO),
    "a truncated packet": (GOOD[0][:30_000], Reason.CORRUPT),
    "a message too large": (b"Obj\x01" + bytes(17 * 2**20), Reason.TOO_LARGE),
    "another survey": (ALIEN, Reason.WRONG_SCHEMA),
    "no science": (Packet(candid=9, stamps={"science": None}).payload(), Reason.MISSING_CUTOUT),
    "no difference": (Packet(candid=9, stamps={"difference": None}).payload(), Reason.MISSING_CUTOUT),
    "no cutouts": (
        Packet(candid=9, stamps=dict.fromkeys(("science", "template", "difference"))).payload(),
        Reason.MISSING_CUTOUT,
    ),
    "a JPEG": (Packet(candid=9, stamps={"science": b"\xff\xd8\xff\xe0" * 9}).payload(), Reason.UNREADABLE_STAMP),
    "65×65": (Packet(candid=9, stamps={"science": packed(np.ones((65, 65)))}).payload(), Reason.STAMP_SHAPE),
    "20×63": (Packet(candid=9, stamps={"science": packed(np.ones((20, 63)))}).payload(), Reason.STAMP_SHAPE),
    "all NaN": (
        Packet(candid=9, stamps={"science": packed(np.full((63, 63), np.nan))}).payload(),
        Reason.BLANK_STAMP,
    ),
    "one inf": (Packet(candid=9, stamps={"template": packed(INF)}).payload(), Reason.INFINITE_PIXEL),
    "NaN jd": (Packet(candid=9, jd=float("nan")).payload(), Reason.BAD_FIELD),
    "fid out of range": (Packet(candid=9, fid=300).payload(), Reason.BAD_FIELD),
    "a private program": (Packet(candid=9, programid=2).payload(), Reason.PRIVATE),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_a_dead_letter_and_leaves_the_rest_of_its_batch_untouched(name: str) -> None:
    payload, reason = BAD[name]
    line = Line()
    report = line.run([*GOOD[:2], payload, GOOD[2]])
    assert line.candids() == [1, 2, 3]
    [letter] = line.sink.dead_letters
    assert letter.reason is reason
    assert letter.explanation
    assert letter.message.payload == payload
    assert (letter.message.offset, letter.index) == (2, 0)
    assert report.summary()["dead_lettered"] == {str(reason): 1}


def test_good_alerts_are_judged_as_if_the_bad_ones_had_not_been_there() -> None:
    bad = [payload for payload, _ in BAD.values()]
    alone, among = Line(), Line()
    alone.run(GOOD)
    among.run([*bad[:5], GOOD[0], *bad[5:9], GOOD[1], GOOD[2], *bad[9:]])
    places = {"offset": 0, "classified_time": 0}
    assert [replace(one, **places) for one in among.sink.classifications] == [
        replace(one, **places) for one in alone.sink.classifications
    ]


def test_what_is_classified_with_a_flag_is_no_dead_letter() -> None:
    line = Line()
    flagged = {
        "missing_template": Packet(candid=1, stamps={"template": None}),
        "constant_science": Packet(candid=2, stamps={"science": packed(np.zeros((63, 63)))}),
    }
    line.run([packet.payload() for packet in flagged.values()])
    assert [made.flags for made in line.sink.classifications] == [(flag,) for flag in flagged]
    for made in line.sink.classifications:
        assert sum(made.alert_probabilities.values()) == pytest.approx(1)


def test_a_private_alert_is_neither_published_nor_remembered_and_its_bytes_stay() -> None:
    line = Line()
    line.run([Packet(candid=9, object_id="secret", programid=3).payload()])
    assert line.data.sequences == {}
    assert line.sink.classifications == []
    [letter] = line.sink.dead_letters
    assert letter.payload is None
    assert "candid 9 has programid 3; kafka.programids admits [1]" in letter.explanation


def test_a_private_alert_stays_private_when_it_is_bad() -> None:
    line = Line()
    line.run([Packet(candid=9, programid=2, jd=float("nan")).payload()])
    [letter] = line.sink.dead_letters
    assert (letter.reason, letter.payload) == (Reason.PRIVATE, None)


def test_a_program_that_is_admitted_is_classified_and_named() -> None:
    line = Line(settings=Settings(kafka={"programids": (1, 2)}))  # type: ignore[arg-type]
    line.run([Packet(programid=2).payload()])
    assert [made.programid for made in line.sink.classifications] == [2]


def test_each_record_of_a_container_counts_and_a_bad_one_is_named_by_its_place() -> None:
    line = Line()
    report = line.run([container([Packet(candid=1), Packet(candid=2, fid=0), Packet(candid=3)])])
    assert line.candids() == [1, 3]
    assert [(letter.index, letter.reason) for letter in line.sink.dead_letters] == [(1, Reason.BAD_FIELD)]
    assert report.account.read == 3


def test_too_many_bad_alerts_stop_the_run_once_their_batch_is_safe() -> None:
    limits = LimitSettings(dead_letter_run=5)
    line = Line(settings=Settings(limits=limits))
    with pytest.raises(TooManyBadAlerts, match="5 alerts in a row"):
        line.run([None] * 6 + GOOD, size=6)
    assert line.events == ["remember", "publish", "commit"]
    assert len(line.sink.dead_letters) == 6


def test_bad_alerts_among_good_ones_do_not_stop_the_run() -> None:
    line = Line(settings=Settings(limits=LimitSettings(dead_letter_run=5)))
    line.run([*[None] * 4, GOOD[0], *[b"x"] * 4, GOOD[1]])
    assert line.candids() == [1, 2]


def test_what_is_read_comes_out_whatever_it_is() -> None:
    line = Line()
    account = line.run([*GOOD, GOOD[0], *(payload for payload, _ in BAD.values()), *NIGHT], size=7).account
    assert account.read == account.classified + account.duplicates + account.dead_lettered.total()
    assert account.read == len(GOOD) + 1 + len(BAD) + len(NIGHT)
    assert account.classified == len(line.sink.classifications)
    assert account.dead_lettered.total() == len(line.sink.dead_letters)
