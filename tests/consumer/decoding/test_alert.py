from copy import deepcopy
from io import BytesIO
from typing import Any

import fastavro
import pytest

from consumer.decoding.alert import Alert, read_alerts
from consumer.errors import BadAlert, Reason
from tests.support.packets import SCHEMA, Packet, container, nullable
from tests.support.raw import Json, changed_schema, without, written

MAX = 2**20


def outcomes(payload: bytes | None) -> list[Alert | BadAlert]:
    return list(read_alerts(payload, MAX))


def alert_of(payload: bytes) -> Alert:
    [alert] = outcomes(payload)
    assert isinstance(alert, Alert), alert
    return alert


def refusal(payload: bytes | None) -> BadAlert:
    [bad] = outcomes(payload)
    assert isinstance(bad, BadAlert)
    return bad


def loosely(record_change: Json, candidate_change: Json | None = None) -> bytes:
    """A packet whose every field is nullable, as Spark writes it, with some values changed."""

    def change(fields: dict[str, Json], candidate: dict[str, Json]) -> None:
        for field in [*fields.values(), *candidate.values()]:
            if not isinstance(field["type"], list):
                field["type"] = nullable(field["type"])

    record = Packet(candid=42).record() | record_change
    if record["candidate"]:
        record["candidate"] |= candidate_change or {}
    return written(changed_schema(change), record)


def test_a_packet_becomes_an_alert_field_for_field() -> None:
    packet = Packet(candid=2**62, object_id="ZTF18abc", jd=2461000.123456789, fid=2, xpos=12.5, ypos=3000.25)
    alert = alert_of(packet.payload())
    assert (alert.candid, alert.object_id, alert.jd, alert.fid) == (2**62, "ZTF18abc", 2461000.123456789, 2)
    assert (alert.programid, alert.schema_version, alert.xpos, alert.ypos) == (1, "3.3", 12.5, 3000.25)
    assert set(alert.cutouts) == {"science", "template", "difference"}
    assert alert.cutouts["template"] == packet.record()["cutoutTemplate"]["stampData"]


@pytest.mark.parametrize(("said", "taken"), [("3.3", "3.3"), ("", "9.9")])
def test_a_schema_version_is_the_record_s_and_the_schema_s_own_only_where_the_record_has_none(
    said: str, taken: str
) -> None:
    assert (
        alert_of(written({**SCHEMA, "version": "9.9"}, Packet().record() | {"schemavsn": said})).schema_version == taken
    )


@pytest.mark.parametrize(("given", "taken"), [(-0.25, -0.25), (-998.5, -998.5), (0.0, 0.0), (-999.0, None)])
def test_a_place_just_off_the_quadrant_is_a_place_and_the_sentinel_is_none(given: float, taken: float | None) -> None:
    alert = alert_of(Packet(xpos=given, ypos=given).payload())
    assert (alert.xpos, alert.ypos) == (taken, taken)


def test_every_record_of_a_container_is_an_alert_in_order() -> None:
    found = outcomes(container([Packet(candid=candid) for candid in (3, 1, 2)]))
    assert [one.candid for one in found if isinstance(one, Alert)] == [3, 1, 2]


def test_the_same_record_twice_in_a_container_is_two_alerts_here() -> None:
    assert outcomes(container([Packet(), Packet()])) == [alert_of(Packet().payload())] * 2


def test_a_bad_record_does_not_hide_those_behind_it() -> None:
    found = outcomes(container([Packet(candid=1), Packet(candid=2, fid=-1), Packet(candid=3)]))
    assert [type(one) for one in found] == [Alert, BadAlert, Alert]


# Payloads that are no packet


def test_a_tombstone_says_what_it_is() -> None:
    bad = refusal(None)
    assert (bad.reason, str(bad).count("tombstone")) == (Reason.TOMBSTONE, 1)


def test_an_empty_message_says_so() -> None:
    bad = refusal(b"")
    assert (bad.reason, str(bad)) == (Reason.EMPTY, "message is empty")


def test_a_message_over_the_limit_is_not_read_and_names_the_limit() -> None:
    bad = refusal(b"Obj\x01" + b"\0" * MAX)
    assert bad.reason is Reason.TOO_LARGE
    assert f"limits.packet_bytes is {MAX}" in str(bad)


def test_a_message_of_exactly_the_limit_is_read() -> None:
    payload = Packet().payload()
    assert isinstance(next(read_alerts(payload, len(payload))), Alert)
    assert isinstance(next(read_alerts(payload, len(payload) - 1)), BadAlert)


@pytest.mark.parametrize("keep", [1, 4, 100, 1_400, 20_000, -17, -1])
def test_a_truncated_packet_is_a_bad_alert(keep: int) -> None:
    assert refusal(Packet().payload()[:keep]).reason in {Reason.NOT_AVRO, Reason.CORRUPT}


def test_confluent_framing_and_schemaless_bytes_are_told_from_containers() -> None:
    assert refusal(b"\x00\x00\x00\x00\x07" + b"x" * 50).reason is Reason.NOT_AVRO


def test_a_container_of_another_schema_names_what_it_lacks() -> None:
    schema = {"type": "record", "name": "gaia", "fields": [{"name": "source_id", "type": "long"}]}
    bad = refusal(written(schema, {"source_id": 1}))
    assert bad.reason is Reason.WRONG_SCHEMA
    assert "'gaia' has no field objectId" in str(bad)


# Fields


@pytest.mark.parametrize("jd", [float("nan"), float("inf"), -float("inf")])
def test_a_jd_that_is_no_number_is_a_bad_alert_that_names_the_candid(jd: float) -> None:
    bad = refusal(Packet(candid=42, jd=jd).payload())
    assert bad.reason is Reason.BAD_FIELD
    assert "jd of candid 42 is" in str(bad)


@pytest.mark.parametrize("fid", [0, -1, 256, 2**31 - 1])
def test_a_filter_id_that_does_not_fit_a_stored_entry_is_a_bad_alert(fid: int) -> None:
    bad = refusal(Packet(candid=42, fid=fid).payload())
    assert bad.reason is Reason.BAD_FIELD
    assert f"fid of candid 42 is {fid}: a filter id from 1 to 255 is needed" in str(bad)


@pytest.mark.parametrize("name", ["objectId", "candid", "candidate"])
def test_a_null_in_a_needed_field_is_a_bad_alert_that_names_it(name: str) -> None:
    bad = refusal(loosely({name: None}))
    assert bad.reason is Reason.BAD_FIELD
    assert name in str(bad)


@pytest.mark.parametrize("name", ["jd", "fid", "programid"])
def test_a_null_in_a_needed_field_of_the_candidate_names_field_and_candid(name: str) -> None:
    bad = refusal(loosely({}, {name: None}))
    assert bad.reason is Reason.BAD_FIELD
    assert f"{name} of candid 42 is None" in str(bad)


def test_an_empty_object_id_is_a_bad_alert_since_all_such_would_share_a_sequence() -> None:
    assert refusal(Packet(object_id="").payload()).reason is Reason.BAD_FIELD


def test_missing_cutouts_are_none_and_the_alert_goes_on_to_the_stamps() -> None:
    alert = alert_of(loosely({"cutoutScience": None, "cutoutTemplate": {"fileName": "", "stampData": b""}}))
    assert (alert.cutouts["science"], alert.cutouts["template"]) == (None, None)
    assert alert.cutouts["difference"] is not None


def test_a_schema_without_cutouts_gives_alerts_without_them() -> None:
    schema = SCHEMA
    for name in ("cutoutTemplate", "cutoutDifference"):
        schema = without(schema, name)
    assert alert_of(written(schema, Packet().record())).cutouts["difference"] is None


@pytest.mark.parametrize("place", [-999.0, -9999.0, float("nan"), float("inf"), None])
def test_a_sentinel_for_a_place_is_no_place(place: float | None) -> None:
    alert = alert_of(Packet(xpos=place).payload())
    assert (alert.xpos, alert.ypos) == (None, 1500.0)


def test_the_version_of_a_packet_without_schemavsn_is_its_schemas() -> None:
    """1.x has no such field."""
    schema = without({**SCHEMA, "version": "1.8"}, "schemavsn")
    assert alert_of(written(schema, Packet().record())).schema_version == "1.8"


def test_an_empty_or_null_schemavsn_gives_way_to_the_schemas_version() -> None:
    assert alert_of(loosely({"schemavsn": None})).schema_version == "3.3"
    assert alert_of(loosely({"schemavsn": ""})).schema_version == "3.3"


# Whose sequence


@pytest.mark.parametrize(
    ("distance", "name", "key"),
    [
        (0.0, "2000 AB", "2000 AB"),
        (4.5, " 2000 AB ", "2000 AB"),
        (5.0, "C/2019 Y4", "C/2019 Y4"),
        (5.1, "2000 AB", "ZTF26aaaaaaa"),
        (-999.0, "2000 AB", "ZTF26aaaaaaa"),
        (-0.5, "2000 AB", "ZTF26aaaaaaa"),
        (float("nan"), "2000 AB", "ZTF26aaaaaaa"),
        (None, "2000 AB", "ZTF26aaaaaaa"),
        (1.0, None, "ZTF26aaaaaaa"),
        (1.0, "", "ZTF26aaaaaaa"),
        (1.0, "  ", "ZTF26aaaaaaa"),
    ],
)
def test_a_solar_system_object_within_5_arcsec_is_kept_by_its_designation(
    distance: float | None, name: str | None, key: str
) -> None:
    alert = alert_of(Packet(ssdistnr=distance, ssnamenr=name).payload())
    assert (alert.sequence_key, alert.object_id) == (key, "ZTF26aaaaaaa")


def test_the_designation_null_is_no_name_or_supernovae_would_share_a_sequence() -> None:
    keys = {
        alert_of(Packet(object_id=name, ssdistnr=1.0, ssnamenr="null").payload()).sequence_key for name in ("a", "b")
    }
    assert keys == {"a", "b"}


def test_two_objects_of_one_designation_share_its_sequence() -> None:
    keys = {alert_of(Packet(object_id=name, ssdistnr=1.0, ssnamenr="433").payload()).sequence_key for name in "ab"}
    assert keys == {"433"}


def test_bad_fields_of_any_type_stay_within_the_packet() -> None:
    def change(fields: dict[str, Json], candidate: dict[str, Json]) -> None:
        candidate["jd"]["type"] = "string"

    record: dict[str, Any] = Packet().record()
    record["candidate"]["jd"] = "nan"
    assert refusal(written(changed_schema(change), record)).reason is Reason.WRONG_SCHEMA


POSITION = {"ra": "double", "dec": "double", "magpsf": "float", "sigmapsf": "float", "isdiffpos": "string"}


def observed(codec: str = "null", types: dict[str, str] = POSITION, **values: Any) -> Alert:
    """The alert of a packet whose candidate has these values, in ZTF's own types unless said otherwise."""
    schema = deepcopy(SCHEMA)
    candidate = next(field["type"] for field in schema["fields"] if field["name"] == "candidate")
    others = [field for field in candidate["fields"] if field["name"] not in types]
    candidate["fields"] = [*others, *({"name": name, "type": nullable(kind)} for name, kind in types.items())]
    record, out = Packet().record(), BytesIO()
    record["candidate"] |= values
    fastavro.writer(out, schema, [record], codec=codec)
    return alert_of(out.getvalue())


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize(("written_sign", "sign"), [("t", 1), ("1", 1), ("f", -1), ("0", -1), ("x", None)])
def test_position_magnitude_and_sign_of_a_packet_are_read(codec: str, written_sign: str, sign: int | None) -> None:
    alert = observed(codec, ra=150.123456789, dec=-12.5, magpsf=18.5, sigmapsf=0.125, isdiffpos=written_sign)
    assert (alert.ra, alert.dec, alert.magnitude, alert.magnitude_error) == (150.123456789, -12.5, 18.5, 0.125)
    assert alert.difference_sign == sign


@pytest.mark.parametrize(
    "values",
    [
        {"ra": None, "dec": None, "magpsf": None, "sigmapsf": None, "isdiffpos": None},
        {"ra": float("nan"), "dec": float("inf"), "magpsf": float("nan"), "sigmapsf": float("nan"), "isdiffpos": ""},
        {"ra": 360.5, "dec": -90.5, "magpsf": -999.0, "sigmapsf": -1.0, "isdiffpos": "yes"},
    ],
)
def test_position_and_magnitude_that_are_no_values_are_unknown_and_the_alert_is_read(values: dict[str, Any]) -> None:
    alert = observed(**values)
    assert (alert.ra, alert.dec, alert.magnitude, alert.magnitude_error, alert.difference_sign) == (None,) * 5


def test_position_and_sign_of_another_type_are_unknown_and_the_alert_is_read() -> None:
    types = {"ra": "string", "dec": "double", "magpsf": "float", "sigmapsf": "bytes", "isdiffpos": "boolean"}
    alert = observed(types=types, ra="10:00:00", dec=-12.5, magpsf=18.5, sigmapsf=b"x", isdiffpos=True)
    assert (alert.ra, alert.dec, alert.magnitude, alert.magnitude_error) == (None, -12.5, 18.5, None)
    assert alert.difference_sign is None


def test_a_schema_without_position_and_magnitude_gives_alerts_without_them() -> None:
    alert = alert_of(written(SCHEMA, Packet().record()))
    assert (alert.ra, alert.magnitude_error, alert.difference_sign) == (None, None, None)
