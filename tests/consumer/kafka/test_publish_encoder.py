from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.configuration.settings import OutputSettings
from consumer.decoding.container import Cursor, avro_long
from consumer.kafka.published import SCHEMAS
from consumer.kafka.sink import Encoder
from model_zoo.classes import CLASSES
from schemas import load_schema
from tests.support.makers import made
from tests.support.raw import long


def read(payload: bytes) -> list[Any]:
    return list(fastavro.reader(BytesIO(payload)))


@given(st.integers(0, 2**62))
def test_lengths_are_encoded_as_fastavro_encodes_them(value: int) -> None:
    assert avro_long(value) == long(value)
    assert Cursor(avro_long(value)).long() == value


def test_a_message_is_a_container_that_any_avro_reader_reads() -> None:
    [record] = read(Encoder(OutputSettings()).encode(made(2**62)))
    assert record["candid"] == 2**62
    assert record["sequence_probabilities"] == dict.fromkeys(CLASSES, 0.125) | {"SN": 0.5}
    assert record["flags"] == ["padded", "late"]


def test_a_container_carries_its_schema_with_docs() -> None:
    payload = Encoder(OutputSettings()).encode(made())
    schema: Any = fastavro.reader(BytesIO(payload)).writer_schema
    assert [field["name"] for field in schema["fields"]] == list(made().record())
    assert all(field["doc"] for field in schema["fields"])


def test_no_field_of_a_record_is_lost_or_becomes_null() -> None:
    [record] = read(Encoder(OutputSettings()).encode(made()))
    assert set(record) == set(made().record())
    assert all(value is not None for value in record.values())


@pytest.mark.parametrize("record_format", ["estampa", "alerce"])
def test_a_schemaless_message_is_the_record_alone(record_format: Any) -> None:
    settings = OutputSettings(record_format=record_format, avro_encoding="schemaless")
    payload = Encoder(settings).encode(made(5))
    schema = fastavro.parse_schema(load_schema(SCHEMAS[record_format]))
    record: Any = fastavro.schemaless_reader(BytesIO(payload), schema, None)
    assert record["candid"] == 5
    assert len(payload) < len(Encoder(OutputSettings(record_format=record_format)).encode(made(5)))


@pytest.mark.parametrize("encoding", ["container", "schemaless"])
def test_a_reader_with_the_schema_of_before_reads_on(encoding: Any) -> None:
    """Version 0.1 ended in `classified_time`. Of bytes without a schema such a reader takes what it knows."""
    schema = load_schema("classification/1/classification")
    names = [field["name"] for field in schema["fields"]]
    before = fastavro.parse_schema(schema | {"fields": schema["fields"][: names.index("classified_time") + 1]})
    payload = Encoder(OutputSettings(avro_encoding=encoding)).encode(made(5))
    if encoding == "schemaless":
        record: Any = fastavro.schemaless_reader(BytesIO(payload), before, None)
    else:
        [record] = fastavro.reader(BytesIO(payload), before)
    assert (record["candid"], list(record)) == (5, names[: names.index("classified_time") + 1])


def test_a_reader_with_the_schema_of_today_reads_what_was_published_before() -> None:
    schema = load_schema("classification/1/classification")
    names = [field["name"] for field in schema["fields"]]
    before = schema | {"fields": schema["fields"][: names.index("classified_time") + 1]}
    out = BytesIO()
    fastavro.writer(out, fastavro.parse_schema(before), [made(5).record()])
    [record] = fastavro.reader(BytesIO(out.getvalue()), fastavro.parse_schema(schema))
    assert isinstance(record, dict)
    assert (record["candid"], record["class"], record["ra"]) == (5, "", None)


def test_alerces_shape_is_that_of_its_readers() -> None:
    [record] = read(Encoder(OutputSettings(record_format="alerce")).encode(made(best="bogus")))
    assert set(record) == {
        "objectId",
        "candid",
        "classifications",
        "classifier_name",
        "classifier_version",
        "brokerPublishTimestamp",
    }
    assert record["classifications"][-1] == {"class_name": "bogus", "probability": 0.5}


def test_equal_records_are_equal_bytes() -> None:
    assert Encoder(OutputSettings()).encode(made()) == Encoder(OutputSettings()).encode(made())


def test_a_missing_kafka_time_is_null() -> None:
    [record] = read(Encoder(OutputSettings()).encode(made(kafka_time=None)))
    assert record["kafka_time"] is None
