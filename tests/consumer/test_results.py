from dataclasses import fields, replace

import numpy as np
import pytest

from consumer.decode_stage import DecodedAlert
from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.stamps import Stamps
from consumer.message import Message
from consumer.results import VERSION, Classification, ModelInfo, classification
from consumer.store.sequences import SequencePrefix
from model_zoo.checkpoint import Checkpoint
from model_zoo.classes import CLASSES
from schemas import load_schema
from tests.support.makers import made
from tests.support.packets import Packet

ALERT = np.array([0.1, 0.2, 0.3, 0.25, 0.15], np.float32)
SEQUENCE = np.array([0.05, 0.6, 0.1, 0.15, 0.1], np.float32)
COMBINED = np.array([0.1, 0.2, 0.05, 0.5, 0.15], np.float32)


def classified(
    checkpoint: Checkpoint,
    flags: tuple[str, ...] = (),
    *,
    late: bool = False,
    jd: float = 2_461_001.5,
    fid: int = 3,
) -> Classification:
    packet = Packet(candid=42, object_id="ZTF18abc", ssdistnr=1.0, ssnamenr="433", programid=2, jd=jd, fid=fid)
    [read] = read_alerts(packet.payload(), 2**20)
    assert isinstance(read, Alert)
    alert = replace(read, ra=150.25, dec=-12.5, magnitude=18.5, magnitude_error=0.125, difference_sign=-1)
    stamps = Stamps(np.zeros((3, 21, 21), np.float32), 0.125, flags)
    sequence = SequencePrefix(
        np.zeros((4, 42), np.float32), np.zeros(4), np.ones(4, np.int64), truncated=True, late=late
    )
    message = Message(b"", "topic", 5, 77, 1_700_000_000_000)
    decoded = DecodedAlert(message, alert, stamps)
    return classification(ModelInfo.of(checkpoint), decoded, sequence, ALERT, SEQUENCE, COMBINED)


def test_a_record_names_its_alert_its_model_and_its_message(checkpoint: Checkpoint) -> None:
    found = classified(checkpoint)
    assert (found.objectId, found.candid, found.fid, found.programid) == ("ZTF18abc", 42, 3, 2)
    assert (found.sequence_key, found.schema_version, found.nan_fraction) == ("433", "3.3", 0.125)
    assert (found.history_length, found.history_truncated) == (4, True)
    assert (found.model_id, found.encoder_id) == (checkpoint.model_id, checkpoint.encoder_id)
    assert (found.model_name, found.estampa_version) == ("random-0", VERSION)
    assert (found.topic, found.partition, found.offset, found.kafka_time) == ("topic", 5, 77, 1_700_000_000_000)


def test_probabilities_go_by_class_name(checkpoint: Checkpoint) -> None:
    found = classified(checkpoint)
    assert list(found.alert_probabilities) == list(CLASSES)
    assert found.alert_probabilities["VS"] == pytest.approx(0.3)
    assert found.sequence_probabilities["SN"] == pytest.approx(0.6)
    assert (found.class_, found.probability) == ("asteroid", 0.5)
    assert found.probabilities["asteroid"] == 0.5
    assert (found.record()["class"], found.record()["probability"]) == ("asteroid", 0.5)


def test_a_record_says_where_when_in_which_band_and_how_bright(checkpoint: Checkpoint) -> None:
    found = classified(checkpoint)
    assert (found.ra, found.dec, found.magnitude, found.magnitude_error) == (150.25, -12.5, 18.5, 0.125)
    assert (found.band, found.difference_sign) == ("i", -1)
    assert found.observed_time == 1_763_769_600_000  # 2025-11-22T00:00:00Z, JD 2461001.5


@pytest.mark.parametrize(("jd", "time"), [(1_721_425.5, -62_135_596_800_000), (1_721_425.4, None), (0.5, None)])
def test_a_date_that_no_calendar_has_leaves_the_time_unknown(
    checkpoint: Checkpoint, jd: float, time: int | None
) -> None:
    assert classified(checkpoint, jd=jd).observed_time == time


def test_a_filter_without_a_letter_leaves_the_band_unknown(checkpoint: Checkpoint) -> None:
    assert classified(checkpoint, fid=9).band is None


def test_an_alert_that_came_after_a_newer_one_is_flagged_late(checkpoint: Checkpoint) -> None:
    assert classified(checkpoint, ("padded",)).flags == ("padded",)
    assert classified(checkpoint, ("padded",), late=True).flags == ("padded", "late")


def test_probabilities_of_another_number_of_classes_are_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match="zip"):
        ModelInfo.of(checkpoint).probabilities(np.zeros(4, np.float32))


def test_latency_is_from_kafkas_time_and_unknown_in_a_replay() -> None:
    assert made(kafka_time=1_000).latency_ms(1_250) == 250
    assert made(kafka_time=None).latency_ms(1_250) is None
    assert made(kafka_time=1_300).latency_ms(1_250) == 0  # another machine's clock is ahead


def test_fields_are_those_of_the_schema_by_name_and_in_order() -> None:
    """A field that is spelt differently would be published as null, silently."""
    schema = load_schema("classification/1/classification")
    assert [field.name.rstrip("_") for field in fields(Classification)] == [field["name"] for field in schema["fields"]]
    assert list(made().record()) == [field["name"] for field in schema["fields"]]


def test_alerce_view_has_the_fields_of_its_schema_and_the_sequence_probabilities() -> None:
    schema, record = load_schema("classification/1/alerce"), made(best="VS").alerce_record()
    assert list(record) == [field["name"] for field in schema["fields"]]
    scores = {one["class_name"]: one["probability"] for one in record["classifications"]}
    assert max(scores, key=lambda name: scores[name]) == "VS"
    assert record["classifier_version"] == "0123456789abcdef"
    assert record["brokerPublishTimestamp"] == 1_700_000_000_250
