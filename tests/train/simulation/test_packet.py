"""Packets against readers that are not ours: fastavro, astropy, and the schema that real packets embed."""

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.io import fits

from consumer.decoding.alert import Alert, read_alerts
from tests.train.simulation.conftest import MadeNight, make_night
from train.simulation.packets.avro import compile_schema, long
from train.simulation.packets.packet import VERSIONS, writer_schema


def described(schema: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path, type, default) of every field, documentation left out."""
    if isinstance(schema, list):
        for branch in schema:
            yield from described(branch, path)
    elif isinstance(schema, dict) and schema["type"] == "array":
        yield from described(schema["items"], path)
    elif isinstance(schema, dict):
        yield path, f"{schema['type']} {schema['name']} {schema.get('namespace')} {schema.get('version')}", None
        for field in schema["fields"]:
            plain = json.dumps(field["type"], default=str) if "fields" not in str(field["type"]) else "nested"
            yield f"{path}.{field['name']}", plain, field.get("default", "none")
            yield from described(field["type"], f"{path}.{field['name']}")


def embedded_schema(payload: bytes) -> dict[str, Any]:
    metadata = fastavro.reader(io.BytesIO(payload)).metadata
    schema: dict[str, Any] = json.loads(metadata["avro.schema"])
    return schema


@pytest.mark.parametrize("version", VERSIONS)
def test_schema_equals_the_one_real_packets_embed_field_for_field(real_packets: list[bytes], version: str) -> None:
    schemas = (embedded_schema(payload) for payload in real_packets)
    theirs = [list(described(s)) for s in schemas if s.get("version") == version and "alert" in s["name"]]
    assert theirs
    ours = list(described(writer_schema(version)))
    assert ours == max(theirs, key=theirs.count)


def test_packet_embeds_its_schema_and_reads_back_by_fastavro(night: MadeNight) -> None:
    records = night.records()
    assert {record["schemavsn"] for record in records} == {"4.02"}
    assert embedded_schema(night.payloads[0]) == writer_schema("4.02")
    assert all(record["candid"] == record["candidate"]["candid"] for record in records)


def test_version_3_3_reads_back_too(tmp_path: Path) -> None:
    night = make_night(tmp_path, alerts=20, seed=3, version="3.3")
    for payload, record in zip(night.payloads, night.records(), strict=True):
        assert record["schemavsn"] == "3.3"
        assert "fp_hists" not in record
        assert record["prv_candidates"] is None or record["prv_candidates"][0]["rbversion"]
        (alert,) = read_alerts(payload, 1 << 22)
        assert isinstance(alert, Alert)
        assert alert.candid == record["candid"]


def test_encoder_writes_what_fastavro_writes(night: MadeNight) -> None:
    encode = compile_schema(writer_schema("4.02"))
    parsed = fastavro.parse_schema(writer_schema("4.02"))
    for record in night.records()[:40]:
        expected = io.BytesIO()
        fastavro.schemaless_writer(expected, parsed, record)
        assert encode(record) == expected.getvalue()


@pytest.mark.parametrize("value", [0, -1, 1, 63, 64, -64, -65, 2**31, -(2**62), 3288125005315015041])
def test_avro_long_equals_fastavro(value: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    assert long(value) == out.getvalue()


def test_stamps_read_by_astropy_with_the_survey_s_header(night: MadeNight) -> None:
    for record in night.records()[:30]:
        for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference"):
            raw = gzip.decompress(record[name]["stampData"])
            assert raw.startswith(b"SIMPLE  =  T")  # off-standard, as ZTF writes it
            mended = raw.replace(b"SIMPLE  =  T".ljust(80), b"SIMPLE  =                    T".ljust(80), 1)
            with fits.open(io.BytesIO(mended)) as file:
                assert file[0].data.dtype == np.dtype(">f4")
                assert file[0].data.shape == (file[0].header["NAXIS2"], file[0].header["NAXIS1"])
                assert len(raw) == 20160 or min(file[0].data.shape) < 63


def test_packet_sizes_are_those_of_real_packets(night: MadeNight) -> None:
    sizes = [len(payload) for payload in night.payloads]
    assert min(sizes) > 35_000
    assert max(sizes) < 120_000


def test_a_version_that_is_not_written_is_named(tmp_path: object) -> None:
    with pytest.raises(ValueError, match=r"no schema '2\.0' to write: choose one of 4\.02, 3\.3"):
        writer_schema("2.0")
