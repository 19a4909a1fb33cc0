import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client import REGISTRY

from consumer.classification import Classification
from consumer.errors import ArchiveError, BrokerError, Reason, StoreError, TooManyBadAlerts
from consumer.health import Pulse
from consumer.inference import Inference
from consumer.message import Batch
from consumer.pipeline import Pipeline
from consumer.report import Report
from consumer.results import Results
from consumer.settings import BatchSettings, LimitSettings, Settings
from tests.conftest import random_checkpoint
from tests.packets import SCHEMA, Packet, container, night, packed
from tests.raw import without, written
from tests.twins import TOPIC, Data, MemorySink, MemorySource, MemoryStore, batches_of

INFERENCE = Inference(random_checkpoint(), torch.device("cpu"))
Payloads = Sequence[bytes | None]


@dataclass
class Line:
    """The loop between its twins. data and sink may be handed on to a second line, as after a restart."""

    data: Data = field(default_factory=Data)
    sink: MemorySink = field(default_factory=MemorySink)
    settings: Settings = field(default_factory=Settings)
    source: MemorySource = field(default_factory=lambda: MemorySource([]))
    events: list[str] = field(default_factory=list)
    inference: Inference = INFERENCE

    def __post_init__(self) -> None:
        self.source.events = self.sink.events = self.events
        store = MemoryStore(42, data=self.data, events=self.events)
        pulse = Pulse(60.0)
        self.pipeline = Pipeline(self.settings, self.source, self.inference, store, self.sink, pulse)

    def run(self, payloads: Payloads, size: int = 512) -> Report:
        self.source.given = batches_of(payloads, size)
        return self.pipeline.run()

    def reasons(self) -> list[Reason]:
        return [letter.reason for letter in self.sink.dead_letters]

    def candids(self) -> list[int]:
        return [made.candid for made in self.sink.classifications]


def payloads_of(packets: Sequence[Packet]) -> list[bytes]:
    return [packet.payload() for packet in packets]


def timeless(made: Classification) -> Classification:
    return replace(made, classified_time=0)


NIGHT = payloads_of(night(objects=4, visits=5))
GOOD = [Packet(candid=candid).payload() for candid in (1, 2, 3)]


# The order of things


def test_a_batch_is_remembered_then_published_then_committed() -> None:
    line = Line()
    line.run(GOOD[:2], size=1)
    assert line.events == ["remember", "publish", "commit"] * 2
    assert line.source.committed == {(TOPIC, 0): 2}


def test_nothing_is_committed_that_was_not_published() -> None:
    line = Line(sink=MemorySink(failing=[BrokerError("not delivered")]))
    with pytest.raises(BrokerError):
        line.run(GOOD)
    assert line.events == ["remember"]
    assert line.source.committed == {}


def test_nothing_is_published_that_was_not_remembered() -> None:
    class Away(MemoryStore):
        def remember(self, *_: Any) -> Any:
            raise StoreError("store is away")

    line = Line()
    line.pipeline._store = Away(42)
    with pytest.raises(StoreError):
        line.run(GOOD)
    assert line.events == []


def test_a_batch_that_failed_is_whole_the_second_time_and_not_taken_for_repeats() -> None:
    """Candids are known as repeats only once their batch is committed."""
    line = Line(sink=MemorySink(failing=[BrokerError("not delivered")]))
    [batch] = batches_of(GOOD, 512)
    with pytest.raises(BrokerError):
        line.pipeline.process(batch, line.pipeline.decode(batch))
    line.pipeline.process(batch, line.pipeline.decode(batch))
    assert line.candids() == [1, 2, 3]
    assert line.pipeline.report.account.duplicates == 0


def test_a_batch_without_a_good_alert_still_tells_the_store_how_far_it_got() -> None:
    line = Line()
    line.run([None, b"junk"])
    assert line.data.applied == {(TOPIC, 0): 2}
    assert line.data.sequences == {}
    assert line.source.committed == {(TOPIC, 0): 2}


def test_an_empty_batch_does_nothing_but_beat() -> None:
    line = Line()
    line.source.given = [Batch(()), Batch(())]
    line.pipeline.run()
    assert line.events == []


# What the operator sees


def in_hand_s() -> float | None:
    return REGISTRY.get_sample_value("estampa_oldest_uncommitted_seconds")


@dataclass
class Scraped(MemorySink):
    """Scrapes at each batch: when it comes to be published, and after it has hung there for 50 ms."""

    scrapes: list[tuple[float, float]] = field(default_factory=list)

    def publish(self, results: Results) -> None:
        came = in_hand_s() or 0.0
        time.sleep(0.05)
        self.scrapes.append((came, in_hand_s() or 0.0))
        super().publish(results)


def test_the_oldest_batch_in_hand_ages_while_it_hangs_and_not_by_how_old_its_messages_are() -> None:
    """Full batches: the second is read, and in hand, before the first is with the models."""
    line = Line(sink=(sink := Scraped()), settings=Settings(batch=BatchSettings(size=1)))
    line.run(GOOD, size=1)
    assert all(hung - came >= 0.05 for came, hung in sink.scrapes)
    assert all(came >= 0.05 for came, _ in sink.scrapes[1:])  # in hand while the one before hung
    assert max(hung for _, hung in sink.scrapes) < 200  # Kafka had them years ago
    assert in_hand_s() == 0


# Bad input

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
    assert "candid 9 is of programid 3; kafka.programids admits [1]" in letter.explanation


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


# Repeats


def test_a_repeat_within_a_batch_or_a_run_is_dropped_and_counted() -> None:
    line = Line()
    report = line.run([GOOD[0], GOOD[0], GOOD[1], GOOD[0]], size=3)
    assert line.candids() == [1, 2]
    assert (report.account.read, report.account.duplicates) == (4, 2)


def test_a_repeat_within_a_container_is_counted() -> None:
    line = Line()
    report = line.run([container([Packet(candid=1), Packet(candid=1)])])
    assert (line.candids(), report.account.duplicates) == ([1], 1)


def test_a_bad_alert_is_no_repeat_of_itself_nor_hides_a_good_one() -> None:
    line = Line()
    bad = Packet(candid=1, stamps={"science": None}).payload()
    report = line.run([bad, bad, GOOD[0]])
    assert line.candids() == [1]
    assert (report.account.duplicates, len(line.sink.dead_letters)) == (0, 2)


def test_a_redelivery_after_a_restart_is_judged_again_and_changes_no_state() -> None:
    first = Line()
    first.run(NIGHT)
    before = {key: dict(fields) for key, fields in first.data.sequences.items()}
    second = Line(data=first.data)
    second.run(NIGHT)
    assert second.candids() == first.candids()
    assert first.data.sequences == before
    for one, again in zip(first.sink.classifications, second.sink.classifications, strict=True):
        assert again.sequence_probabilities == one.sequence_probabilities, "a night in time order"


# In = out


def test_what_is_read_comes_out_whatever_it_is() -> None:
    line = Line()
    account = line.run([*GOOD, GOOD[0], *(payload for payload, _ in BAD.values()), *NIGHT], size=7).account
    assert account.read == account.classified + account.duplicates + account.dead_lettered.total()
    assert account.read == len(GOOD) + 1 + len(BAD) + len(NIGHT)
    assert account.classified == len(line.sink.classifications)
    assert account.dead_lettered.total() == len(line.sink.dead_letters)


@pytest.mark.parametrize("size", [3, 512])
def test_what_came_before_an_archive_ended_early_is_finished_whether_its_batch_is_full_or_not(size: int) -> None:
    class Gone(MemorySource):
        def batches(self) -> Any:
            yield from batches_of(GOOD, size)
            raise ArchiveError("the archive ends early")

    line = Line(source=Gone([]), settings=Settings(batch=BatchSettings(size=size)))
    with pytest.raises(ArchiveError, match="ends early"):
        line.pipeline.run()
    assert line.candids() == [1, 2, 3]
    assert line.source.committed == {(TOPIC, 0): 3}


# However the stream falls


@pytest.fixture(scope="module")
def undisturbed() -> Line:
    line = Line()
    line.run(NIGHT)
    return line


@pytest.mark.parametrize("size", [1, 3, 7, 512])
def test_classifications_do_not_depend_on_the_size_of_batches(undisturbed: Line, size: int) -> None:
    line = Line()
    line.run(NIGHT, size)
    assert [timeless(made) for made in line.sink.classifications] == [
        timeless(made) for made in undisturbed.sink.classifications
    ]
    assert line.data.sequences == undisturbed.data.sequences


@pytest.mark.parametrize("size", [1, 7, 512])
def test_a_stream_shuffled_and_doubled_leaves_the_same_state(undisturbed: Line, size: int) -> None:
    shuffled = [*NIGHT, *NIGHT]
    Random(size).shuffle(shuffled)
    line = Line()
    report = line.run(shuffled, size)
    assert line.data.sequences == undisturbed.data.sequences
    assert report.account.duplicates == len(NIGHT)


def test_sequences_grow_alert_by_alert(undisturbed: Line) -> None:
    lengths = [made.history_length for made in undisturbed.sink.classifications]
    assert lengths == [visit for visit in range(1, 6) for _ in range(4)]
    assert not any(made.history_truncated for made in undisturbed.sink.classifications)


def test_an_alert_out_of_time_order_is_judged_up_to_its_own_time_and_flagged() -> None:
    late, last = Packet(candid=5, jd=2461001.5), Packet(candid=6, jd=2461002.5)
    line = Line()
    line.run(payloads_of([Packet(candid=4), last, late]))
    assert [(made.candid, made.history_length, made.flags) for made in line.sink.classifications] == [
        (4, 1, ()),
        (6, 2, ()),
        (5, 2, ("late",)),
    ]


def test_a_solar_system_object_keeps_one_sequence_under_its_designation() -> None:
    packets = [
        Packet(candid=candid, object_id=f"ZTF26{candid}", ssdistnr=1.0, ssnamenr="433", jd=2461000.5 + candid)
        for candid in (1, 2, 3)
    ]
    line = Line()
    line.run(payloads_of(packets))
    assert list(line.data.sequences) == ["433"]
    assert [made.history_length for made in line.sink.classifications] == [1, 2, 3]
    assert [made.objectId for made in line.sink.classifications] == ["ZTF261", "ZTF262", "ZTF263"]


def test_another_schema_version_in_the_same_batch_is_read_by_its_own_layout() -> None:
    newer = written({**SCHEMA, "version": "4.02"}, Packet(candid=8).record() | {"schemavsn": "4.02"})
    line = Line()
    line.run([GOOD[0], newer, GOOD[1]])
    assert [made.schema_version for made in line.sink.classifications] == ["3.3", "4.02", "3.3"]


# Metadata


def brightness_seen(payloads: Payloads) -> list[Classification]:
    line = Line(inference=Inference(random_checkpoint(metadata=("magpsf",)), torch.device("cpu")))
    line.run(payloads)
    return line.sink.classifications


def test_an_alerts_own_answer_follows_its_metadata_and_its_sequences_does_not() -> None:
    bright, faint = Packet().record(), Packet().record()
    bright["candidate"]["magpsf"], faint["candidate"]["magpsf"] = 12.0, 20.0
    [one], [other] = (brightness_seen([written(SCHEMA, record)]) for record in (bright, faint))
    assert one.alert_probabilities != other.alert_probabilities
    assert one.sequence_probabilities == other.sequence_probabilities
    assert one.encoder_id == other.encoder_id == INFERENCE.checkpoint.encoder_id
    assert one.model_id != INFERENCE.checkpoint.model_id


def test_an_alert_of_a_schema_without_a_wanted_column_is_classified_as_if_it_were_missing() -> None:
    record = Packet().record()
    record["candidate"]["magpsf"] = -999.0
    [unknown] = brightness_seen([written(SCHEMA, record)])
    del record["candidate"]["magpsf"]
    [absent] = brightness_seen([written(without(SCHEMA, "candidate.magpsf"), record)])
    assert absent.alert_probabilities == unknown.alert_probabilities
