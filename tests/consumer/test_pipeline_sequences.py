"""However the stream falls into batches, and whatever order it comes in, an alert is judged alike."""

from random import Random

import pytest
import torch

from consumer.inference.models import Inference
from consumer.results import Classification
from tests.conftest import random_checkpoint
from tests.support.loop import GOOD, INFERENCE, NIGHT, Line, Payloads, payloads_of, timeless
from tests.support.packets import SCHEMA, Packet
from tests.support.raw import without, written


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
