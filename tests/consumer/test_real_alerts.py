"""Facts of real ZTF packets. They are third-party data, read where they are, and skipped where they are not."""

from collections import Counter
from collections.abc import Iterator
from gzip import decompress
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from consumer.archive.source import ArchiveSource, find_archives
from consumer.decoding import packet as packets
from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.container import SYNC_SIZE, read_header
from consumer.decoding.layout import layout
from consumer.decoding.packet import PacketReader
from consumer.decoding.stamps import Stamps, cut_stamps, read_stamp
from consumer.errors import BadAlert, Reason
from model_zoo.metadata import COLUMNS, metadata_fields
from model_zoo.preprocess import Preprocessing, cut, normalise, source_pixel

MAX = 16 * 2**20
CUTOUTS = {"science": "cutoutScience", "template": "cutoutTemplate", "difference": "cutoutDifference"}
CANDIDATE = ("jd", "fid", "programid")
QUIRKS = {
    "corrupt_or_schemaless": {Reason.CORRUPT, Reason.NOT_AVRO, Reason.WRONG_SCHEMA},
    "jpegstamps": {Reason.WRONG_SCHEMA},
    "nocutouts": {Reason.MISSING_CUTOUT},
}
"""Kind of quirk, by file name → why such a file may be a dead letter."""


def alert_of(packet: bytes) -> Alert:
    [alert] = read_alerts(packet, MAX)
    assert isinstance(alert, Alert), alert
    return alert


def by_fastavro(packet: bytes) -> Any:
    [record] = fastavro.reader(BytesIO(packet))
    return record


def by_astropy(packed: bytes) -> NDArray[np.float32]:
    with fits.open(BytesIO(decompress(packed)), ignore_missing_simple=True) as hdus:
        image: NDArray[np.float32] = hdus[0].data.astype(np.float32)
        return np.where(image == np.finfo(np.float32).min, np.float32(np.nan), image)


def expected_key(record: Any) -> str:
    """By the words of ztf.md."""
    candidate = record["candidate"]
    distance, name = candidate["ssdistnr"], candidate["ssnamenr"]
    real = name not in {None, "", "null"}
    return name if real and distance is not None and 0 <= distance <= 5 else record["objectId"]


@pytest.fixture(scope="module")
def alerts(real_packets: list[bytes]) -> list[Alert]:
    return [alert_of(packet) for packet in real_packets]


@pytest.fixture(scope="module")
def edges(alerts: list[Alert]) -> list[tuple[Alert, NDArray[np.float32]]]:
    """Alerts whose stamps are smaller than 63×63, with their difference image."""
    images = ((alert, read_stamp(alert.cutouts["difference"] or b"", MAX)) for alert in alerts)
    return [(alert, image) for alert, image in images if image.shape != (63, 63)]


def test_all_1058_records_are_read(real_alerts: Path, real_packets: list[bytes]) -> None:
    archives = find_archives(
        [real_alerts / "labelled.tar.gz", real_alerts / "unlabelled.tar.gz", real_alerts / "containers"]
    )
    outcomes = [
        outcome
        for batch in ArchiveSource(archives, 512).batches()
        for message in batch.messages
        for outcome in read_alerts(message.payload, MAX)
    ]
    assert Counter(type(outcome) for outcome in outcomes) == {Alert: 1_058}
    assert len(real_packets) == 1_042


def test_every_packet_decodes_to_what_fastavros_own_reader_gives(
    real_packets: list[bytes], alerts: list[Alert]
) -> None:
    for packet, alert in zip(real_packets, alerts, strict=True):
        record = by_fastavro(packet)
        assert (alert.candid, alert.object_id) == (record["candid"], record["objectId"])
        assert (alert.jd, alert.fid, alert.programid) == tuple(record["candidate"][name] for name in CANDIDATE)
        assert (alert.xpos, alert.ypos) == (record["candidate"]["xpos"], record["candidate"]["ypos"])
        assert alert.sequence_key == expected_key(record)
        for channel, name in CUTOUTS.items():
            assert alert.cutouts[channel] == record[name]["stampData"]


def test_every_schema_version_is_met_and_named(alerts: list[Alert]) -> None:
    assert Counter(alert.schema_version for alert in alerts) == {
        "1.8": 235,
        "3.0": 33,
        "3.2": 235,
        "3.3": 191,
        "4.01": 13,
        "4.02": 335,
    }


def test_a_schema_is_parsed_once_for_all_the_packets_that_carry_it(real_packets: list[bytes]) -> None:
    reader = PacketReader()
    with mock.patch.object(packets, "layout", wraps=layout) as parsing:
        for packet in real_packets:
            assert list(reader.read(packet))
    headers = {packet[: read_header(packet).size - SYNC_SIZE] for packet in real_packets}
    assert parsing.call_count == len(headers) <= 16


def test_every_stamp_is_what_astropy_reads(alerts: list[Alert]) -> None:
    """Of every seventh alert, which meets each version and writer."""
    for alert in alerts[::7]:
        for packed in alert.cutouts.values():
            assert packed is not None
            assert np.array_equal(read_stamp(packed, MAX), by_astropy(packed), equal_nan=True)


def test_no_name_of_a_solar_system_object_is_null_and_most_are_known(alerts: list[Alert]) -> None:
    moving = {alert.sequence_key for alert in alerts if alert.sequence_key != alert.object_id}
    assert len(moving) > 200
    assert not moving & {"null", "", "None"}


def test_supernovae_with_a_distance_and_no_name_keep_their_own_sequences(real_packets: list[bytes]) -> None:
    """Keyed carelessly they would all share one."""
    nameless = [
        packet
        for packet in real_packets[::3]
        if (candidate := by_fastavro(packet)["candidate"])["ssdistnr"] is not None
        and candidate["ssdistnr"] >= 0
        and candidate["ssnamenr"] in {None, "null"}
    ]
    assert nameless
    for packet in nameless:
        alert = alert_of(packet)
        assert alert.sequence_key == alert.object_id


# Cuts


def cuts(alerts: list[Alert]) -> Iterator[Stamps]:
    return (cut_stamps(alert, Preprocessing(), MAX) for alert in alerts)


def test_every_real_alert_has_a_cut_that_scales_to_finite_pixels(alerts: list[Alert]) -> None:
    flags: Counter[str] = Counter()
    for stamps in cuts(alerts):
        scaled = normalise(stamps.pixels[None])
        assert np.isfinite(scaled).all()
        assert scaled.max() <= 1
        flags.update(stamps.flags)
    assert set(flags) <= {"padded", "nan_pixels", "constant_template", "missing_template"}
    assert flags["nan_pixels"] > 0


def test_a_full_stamp_is_cut_as_alerce_cuts_it(alerts: list[Alert]) -> None:
    """Train and serve preprocess alike, and like the seeds: the central 21×21."""
    for alert in alerts[::50]:
        image = by_astropy(alert.cutouts["science"] or b"")
        if image.shape == (63, 63):
            stamps = cut_stamps(alert, Preprocessing(), MAX)
            assert np.array_equal(stamps.pixels[0], image[21:42, 21:42], equal_nan=True)


def test_there_are_23_edge_stamps_each_of_one_size_in_all_channels(
    alerts: list[Alert], edges: list[tuple[Alert, NDArray[np.float32]]]
) -> None:
    assert len(edges) == 23
    for alert, image in edges:
        shapes = {read_stamp(packed, MAX).shape for packed in alert.cutouts.values() if packed}
        assert shapes == {image.shape}


def test_the_size_of_an_edge_stamp_is_what_its_place_on_the_quadrant_leaves(
    edges: list[tuple[Alert, NDArray[np.float32]]],
) -> None:
    for alert, image in edges:
        assert alert.xpos is not None
        assert alert.ypos is not None
        column, row = round(alert.xpos) - 1, round(alert.ypos) - 1
        height = min(row + 32, 3_080) - max(row - 31, 0)
        width = min(column + 32, 3_072) - max(column - 31, 0)
        assert abs(image.shape[0] - height) <= 1
        assert abs(image.shape[1] - width) <= 1


def test_an_edge_stamp_is_cut_around_the_brightest_pixel_of_a_strong_source(
    edges: list[tuple[Alert, NDArray[np.float32]]],
) -> None:
    """Of the stamps whose brightest point is a strong one and in the cut: it is in the middle of the cut."""
    checked = 0
    for alert, image in edges:
        assert alert.xpos is not None
        assert alert.ypos is not None
        centre = source_pixel((image.shape[0], image.shape[1]), alert.xpos, alert.ypos)
        plane, _ = cut(image, 21, centre)
        light = np.abs(np.nan_to_num(plane))
        peak = np.unravel_index(light.argmax(), light.shape)
        if light.max() == np.nanmax(np.abs(image)) > 10 * np.nanstd(image):
            checked += 1
            assert max(abs(place - 10) for place in peak) <= 1, (alert.candid, peak)
    assert checked >= 12


def test_unmapped_pixels_of_real_templates_are_nan_and_do_not_flatten_the_rest(alerts: list[Alert]) -> None:
    """12 of 1,042 templates hold -3.4e38 where nothing was mapped."""
    unmapped = [alert for alert in alerts if (np.abs(raw_template(alert)) > 1e37).any()]
    assert len(unmapped) == 12
    for alert in unmapped:
        template = normalise(cut_stamps(alert, Preprocessing(), MAX).pixels[None])[0, 1]
        assert len(np.unique(template)) > 100


def raw_template(alert: Alert) -> NDArray[np.float32]:
    with fits.open(BytesIO(decompress(alert.cutouts["template"] or b"")), ignore_missing_simple=True) as hdus:
        image: NDArray[np.float32] = hdus[0].data
        return np.nan_to_num(image, nan=0.0)


# Quirks


@pytest.fixture(scope="module")
def quirks(real_alerts: Path) -> dict[str, list[BadAlert | Stamps]]:
    """File name → what became of each of its records."""
    found: dict[str, list[BadAlert | Stamps]] = {}
    for path in sorted((real_alerts / "quirks").iterdir()):
        found[path.name] = [outcome_of(one) for one in read_alerts(path.read_bytes(), MAX)]
    return found


def outcome_of(one: Alert | BadAlert) -> BadAlert | Stamps:
    try:
        return one if isinstance(one, BadAlert) else cut_stamps(one, Preprocessing(), MAX)
    except BadAlert as bad:
        return bad


def test_every_quirk_ends_as_a_dead_letter_with_a_reason_of_its_kind(
    quirks: dict[str, list[BadAlert | Stamps]],
) -> None:
    assert len(quirks) == 16
    for name, outcomes in quirks.items():
        [kind] = [kind for kind in QUIRKS if name.startswith(kind)]
        bad = [one for one in outcomes if isinstance(one, BadAlert)]
        assert bad, name
        for one in bad:
            assert one.reason in QUIRKS[kind], (name, one.reason, one)
            assert len(str(one)) > 20, "a person understands it"


def test_the_one_sound_alert_before_the_damage_of_a_quirk_is_classified(
    quirks: dict[str, list[BadAlert | Stamps]],
) -> None:
    sound = {name: one for name, outcomes in quirks.items() for one in outcomes if isinstance(one, Stamps)}
    assert [name[:40] for name in sound] == ["corrupt_or_schemaless_Ampel-ZTF-archive_"]


def test_an_alert_without_cutouts_is_named_by_its_candid(quirks: dict[str, list[BadAlert | Stamps]]) -> None:
    for name, [one] in ((name, one) for name, one in quirks.items() if name.startswith("nocutouts")):
        assert f"candid {name.removeprefix('nocutouts_').removesuffix('.avro')}" in str(one)


def test_containers_of_many_by_spark_and_snappy_are_read(real_alerts: Path) -> None:
    sizes = [
        sum(isinstance(one, Alert) for one in read_alerts(path.read_bytes(), 2**28))
        for path in sorted((real_alerts / "containers").iterdir())
    ]
    assert sizes == [2, 11, 3]


def test_metadata_is_what_fastavro_reads_in_every_schema_version(real_packets: list[bytes]) -> None:
    fields = metadata_fields(COLUMNS)
    reader, missing = PacketReader(fields), 0
    for packet in real_packets:
        [alert] = read_alerts(packet, MAX, reader)
        assert isinstance(alert, Alert)
        candidate = by_fastavro(packet)["candidate"]
        assert alert.metadata == tuple(candidate.get(field) for field in fields)
        missing += sum(value is None for value in alert.metadata)
    assert missing == 0, "all versions have all of these fields"
