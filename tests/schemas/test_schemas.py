"""Each schema is sound, has a sample on file, and still reads what was written before it grew."""

import json
from copy import deepcopy
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.read import SchemaResolutionError

from consumer.decoding.projection import project
from consumer.errors import Reason
from model_zoo.classes import CLASSES
from schemas import FOLDER, load_schema
from tests.support.packets import SCHEMA

SAMPLES = {
    "classification/1/classification": "classification/1/sample.json",
    "classification/1/alerce": "classification/1/alerce.sample.json",
    "deadletter/1/dead_letter": "deadletter/1/sample.json",
    "ztf/projection": "ztf/sample.json",
}
"""Schema → a record of it in Avro's JSON, as it was when the version was made: add no field to it later."""


def parsed(schema: Any) -> Any:
    return fastavro.parse_schema(deepcopy(schema))


def sample_of(name: str) -> Any:
    """The sample, as plain types; a field that is not in it must have a default."""
    text = (FOLDER / SAMPLES[name]).read_text()
    [record] = fastavro.json_reader(StringIO(json.dumps(json.loads(text))), parsed(load_schema(name)))
    return record


def as_first_written(name: str) -> bytes:
    """The sample in a container, by the schema as it was: without the fields that the sample does not have."""
    schema, text = load_schema(name), json.loads((FOLDER / SAMPLES[name]).read_text())
    schema["fields"] = [field for field in schema["fields"] if field["name"] in text]
    out = BytesIO()
    fastavro.writer(out, parsed(schema), [{key: sample_of(name)[key] for key in text}])
    return out.getvalue()


def test_every_schema_of_ours_on_file_has_a_sample() -> None:
    """Packets of ZTF's own schemas (`ztf/VERSION/alert`) are simulated by the thousand."""
    found = {str(path.relative_to(FOLDER).with_suffix("")) for path in Path(FOLDER).rglob("*.avsc")}
    assert {name for name in found if not name.endswith("/alert")} == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_schema_parses_and_says_what_each_field_is(name: str) -> None:
    schema = load_schema(name)
    assert parsed(schema)["type"] == "record"
    assert schema["doc"]
    assert all(field["doc"] for field in schema["fields"])


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_comes_back_as_it_was_written(name: str) -> None:
    out = BytesIO()
    fastavro.writer(out, parsed(load_schema(name)), [sample_of(name)])
    out.seek(0)
    assert list(fastavro.reader(out)) == [sample_of(name)]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_record_written_by_the_first_release_is_read_by_the_current_schema(name: str) -> None:
    [record] = fastavro.reader(BytesIO(as_first_written(name)), reader_schema=parsed(load_schema(name)))
    assert record == sample_of(name)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_record_of_today_is_read_by_a_schema_that_grew_by_a_default(name: str) -> None:
    grown = load_schema(name)
    grown["fields"].append({"name": "added", "type": ["null", "string"], "default": None})
    [record] = fastavro.reader(BytesIO(as_first_written(name)), reader_schema=parsed(grown))
    assert record == sample_of(name) | {"added": None}


def test_a_field_added_without_a_default_would_not_pass_here() -> None:
    grown = load_schema("classification/1/classification")
    grown["fields"].append({"name": "added", "type": "string"})
    with pytest.raises(SchemaResolutionError):
        list(fastavro.reader(BytesIO(as_first_written("classification/1/classification")), reader_schema=parsed(grown)))


def test_a_reader_of_todays_schema_may_read_what_a_later_one_wrote() -> None:
    name = "classification/1/classification"
    grown = load_schema(name)
    grown["fields"].append({"name": "added", "type": "string"})
    out = BytesIO()
    fastavro.writer(out, parsed(grown), [sample_of(name) | {"added": "new"}])
    out.seek(0)
    assert list(fastavro.reader(out, reader_schema=parsed(load_schema(name)))) == [sample_of(name)]


def test_the_samples_speak_the_words_of_the_program() -> None:
    assert list(sample_of("classification/1/classification")["alert_probabilities"]) == list(CLASSES)
    assert sample_of("deadletter/1/dead_letter")["reason"] in set(Reason)


def test_the_docs_of_flags_name_every_flag() -> None:
    [flags] = [one for one in load_schema("classification/1/classification")["fields"] if one["name"] == "flags"]
    named = flags["doc"].split(", ")
    assert named == [
        "missing_template",
        "padded",
        "nan_pixels",
        "constant_science",
        "constant_template",
        "constant_difference",
        "late",
    ]


def test_the_projection_is_itself_a_schema_that_it_reads() -> None:
    assert project(parsed(load_schema("ztf/projection")))["name"] == "estampa.ztf.projection"


def test_a_packets_record_resolves_to_the_projection_on_file() -> None:
    """What is read of a packet is what the projection says, name for name."""
    wanted = {field["name"] for field in load_schema("ztf/projection")["fields"]}
    assert {field["name"] for field in project(parsed(SCHEMA))["fields"]} == wanted
