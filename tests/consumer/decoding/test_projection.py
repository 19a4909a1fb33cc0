import json
from typing import Any

import fastavro
import pytest

from consumer.decoding.layout import layout
from consumer.decoding.projection import OPTIONAL, project, wanted_fields
from consumer.errors import BadAlert, Reason
from tests.support.packets import SCHEMA, nullable
from tests.support.raw import Json, changed_schema, without

CUTOUT_NAMES = ["cutoutScience", "cutoutTemplate", "cutoutDifference"]


def projected(schema: Json) -> Json:
    reader: Json = project(fastavro.parse_schema(schema))
    return reader


def names(record: Json) -> list[str]:
    return [field["name"] for field in record["fields"]]


def refusal(schema: Any) -> str:
    with pytest.raises(BadAlert) as caught:
        project(fastavro.parse_schema(schema))
    assert caught.value.reason is Reason.WRONG_SCHEMA
    return str(caught.value)


def test_only_the_wanted_fields_are_read() -> None:
    reader = projected(SCHEMA)
    assert names(reader) == ["schemavsn", "objectId", "candid", "candidate", *CUTOUT_NAMES]
    candidate = ["jd", "fid", "programid", "magpsf", "xpos", "ypos", "ssdistnr", "ssnamenr"]
    assert names(reader["fields"][3]["type"]) == candidate


def test_of_a_cutout_only_the_stamp_is_read_in_all_three() -> None:
    science, template, difference = projected(SCHEMA)["fields"][-3:]
    assert names(science["type"][1]) == ["stampData"]
    assert template["type"] == difference["type"] == ["null", "ztf.alert.cutout"]


def test_every_optional_field_is_one_that_is_wanted() -> None:
    tree = wanted_fields()
    candidate = tree["candidate"]
    assert isinstance(candidate, dict)
    assert set(tree) | set(candidate) > OPTIONAL


def test_a_reader_schema_is_one_that_fastavro_takes_with_the_writers_names() -> None:
    reader = fastavro.parse_schema(projected(SCHEMA))
    assert reader["name"] == "ztf.alert"


def test_the_order_of_the_writers_fields_is_kept() -> None:
    turned = {**SCHEMA, "fields": [*SCHEMA["fields"][:6][::-1], *SCHEMA["fields"][6:]]}
    assert names(projected(turned)) == ["candidate", "candid", "objectId", "schemavsn", *CUTOUT_NAMES]


@pytest.mark.parametrize("name", ["objectId", "candid", "candidate", "candidate.jd", "candidate.fid"])
def test_a_schema_without_a_needed_field_is_refused_by_its_full_name(name: str) -> None:
    assert f"has no field {name}; is this a ZTF alert?" in refusal(without(SCHEMA, name))


def test_a_schema_without_programid_is_refused_since_its_alerts_might_be_private() -> None:
    assert "candidate.programid" in refusal(without(SCHEMA, "candidate.programid"))


@pytest.mark.parametrize("name", ["schemavsn", "cutoutTemplate", "candidate.xpos", "candidate.ssnamenr"])
def test_a_schema_without_an_optional_field_is_read(name: str) -> None:
    assert name not in names(projected(without(SCHEMA, name)))


def test_all_missing_fields_of_another_survey_are_named_at_once() -> None:
    alien = {"type": "record", "name": "lsst.alert", "fields": [{"name": "diaSourceId", "type": "long"}]}
    assert "'lsst.alert' has no field objectId, candid, candidate" in refusal(alien)


@pytest.mark.parametrize("schema", ["string", ["null", "string"], {"type": "array", "items": "long"}])
def test_a_schema_that_is_no_record_is_refused(schema: Any) -> None:
    assert "not an alert's record" in refusal(schema)


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("jd", "string", "double"),
        ("fid", "float", "int"),
        ("programid", nullable("string"), "int"),
        ("xpos", {"type": "array", "items": "float"}, "float"),
        ("ssdistnr", ["null", "float", "string"], "float"),
        ("ssnamenr", "bytes", "string"),
        ("jd", {"type": "long", "logicalType": "timestamp-millis"}, "double"),
    ],
)
def test_a_field_of_another_type_is_refused_by_name_rather_than_crash_the_loop(
    name: str, kind: Any, wanted: str
) -> None:
    def change(_: Any, candidate: dict[str, Json]) -> None:
        candidate[name]["type"] = kind

    said = refusal(changed_schema(change))
    assert f"candidate.{name} is of type" in said
    assert f"{wanted} is needed" in said


def test_a_candidate_that_is_a_map_is_refused() -> None:
    def change(fields: dict[str, Json], _: Any) -> None:
        fields["candidate"]["type"] = {"type": "map", "values": "double"}

    assert "candidate is of type 'map'; a record is needed" in refusal(changed_schema(change))


def test_a_string_as_java_writes_it_and_a_wider_number_are_read() -> None:
    def change(fields: dict[str, Json], candidate: dict[str, Json]) -> None:
        fields["objectId"]["type"] = {"type": "string", "avro.java.string": "String"}
        candidate["fid"]["type"] = nullable("long")
        candidate["xpos"]["type"] = "double"

    assert projected(changed_schema(change))["fields"][1] == {"name": "objectId", "type": "string"}


def test_a_cutout_that_can_only_be_null_is_read_as_missing() -> None:
    def change(fields: dict[str, Json], _: Any) -> None:
        fields["cutoutTemplate"]["type"] = ["null"]

    assert projected(changed_schema(change))["fields"][-2]["type"] == ["null"]


@pytest.mark.parametrize("link", ["node", nullable("node"), {"type": "array", "items": "node"}])
def test_a_schema_whose_record_holds_itself_is_refused_unread(link: Any) -> None:
    """A few bytes of such a schema overflow the stack of fastavro's compiled reader: a segmentation fault."""

    def change(fields: dict[str, Json], _: Any) -> None:
        node = {"type": "record", "name": "node", "fields": [{"name": "next", "type": link}]}
        fields["publisher"]["type"] = node

    assert "node holds itself" in refusal(changed_schema(change))


@pytest.mark.parametrize(
    "nothing",
    [
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "record", "name": "void", "fields": []}},
        {"type": "array", "items": {"type": "fixed", "name": "void", "size": 0}},
        "null",
    ],
)
def test_a_schema_with_a_value_of_no_bytes_is_refused_since_a_block_may_claim_any_number_of_them(nothing: Any) -> None:
    def change(fields: dict[str, Json], _: Any) -> None:
        fields["publisher"]["type"] = nothing

    assert "takes no bytes" in refusal(changed_schema(change))


def test_a_record_used_twice_is_not_taken_for_one_that_holds_itself() -> None:
    assert layout(json.dumps(SCHEMA).encode()).version == "3.3"
