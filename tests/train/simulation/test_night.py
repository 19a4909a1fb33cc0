"""A night as a whole: truth, order, identities, faults, sameness, and what an interruption leaves."""

import gzip
import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import fastavro
import numpy as np
import pyarrow.parquet as pq
import pytest

from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.stamps import cut_stamps
from model_zoo.preprocess import Preprocessing
from tests.train.simulation.conftest import MadeNight, make_night
from train.simulation.nights.night import NightRequest, write_night
from train.simulation.nights.plan import DEFAULT_MIX, quotas
from train.simulation.nights.sink import DirectorySink, Pace, TarSink, sink_for
from train.simulation.sources.source import SUBCLASSES

LIMIT_BYTES = 1 << 22


def test_truth_has_one_row_a_packet_in_order(night: MadeNight) -> None:
    records = night.records()
    assert [row["candid"] for row in night.truth] == [record["candid"] for record in records]
    assert [row["objectId"] for row in night.truth] == [record["objectId"] for record in records]
    assert [row["position"] for row in night.truth] == list(range(500))
    assert [row["packet_bytes"] for row in night.truth] == [len(payload) for payload in night.payloads]


def test_truth_agrees_with_the_packets(night: MadeNight) -> None:
    for row, record in zip(night.truth, night.records(), strict=True):
        candidate = record["candidate"]
        assert row["subclass"] in SUBCLASSES[row["class"]]
        assert (row["class"] == "asteroid") == (candidate["ssnamenr"] != "null") == (row["ssnamenr"] != "null")
        assert row["jd"] == candidate["jd"]
        if row["class"] != "bogus":
            assert (candidate["isdiffpos"] == "t") == (row["difference_flux"] > 0)


def test_measured_magnitudes_follow_the_true_ones(night: MadeNight) -> None:
    off = []
    for row, record in zip(night.truth, night.records(), strict=True):
        if row["class"] in ("SN", "VS", "AGN", "asteroid"):
            true = row["zero_point"] - 2.5 * np.log10(abs(row["difference_flux"]))
            off.append(record["candidate"]["magpsf"] - true)
    assert abs(np.median(off)) < 0.05
    assert np.percentile(np.abs(off), 90) < 0.35


def test_alerts_leave_in_time_order_with_unique_candids(night: MadeNight) -> None:
    times = [row["jd"] for row in night.truth]
    assert times == sorted(times)
    candids = [row["candid"] for row in night.truth]
    assert len(set(candids)) == len(candids)
    assert all(10**18 < candid < 2**63 for candid in candids)
    assert [f"{candid}.avro" for candid in candids] == night.names


def test_classes_come_in_the_shares_asked_for(night: MadeNight) -> None:
    assert Counter(row["class"] for row in night.truth) == quotas(500, DEFAULT_MIX)


def test_only_what_is_above_the_detection_limit_makes_an_alert(night: MadeNight) -> None:
    for row in night.truth:
        assert row["class"] == "bogus" or abs(row["signal_to_noise"]) >= 5.0


def test_the_consumer_decodes_every_packet(night: MadeNight) -> None:
    for payload in night.payloads[:100]:
        (alert,) = read_alerts(payload, LIMIT_BYTES)
        assert isinstance(alert, Alert)
        stamps = cut_stamps(alert, Preprocessing(), LIMIT_BYTES)
        assert stamps.pixels.shape == (3, 21, 21)


def test_same_seed_gives_same_bytes_on_one_process_and_on_two(tmp_path: Path) -> None:
    made = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        made.append(make_night(folder, processes, alerts=200, seed=9, faults={"duplicates": 0.1, "corrupt": 0.05}))
    assert made[0].archive.read_bytes() == made[1].archive.read_bytes()
    assert made[0].truth == made[1].truth


def test_another_seed_gives_another_night(night: MadeNight, tmp_path: Path) -> None:
    other = make_night(tmp_path, alerts=30, seed=4)
    assert not {row["objectId"] for row in other.truth} & {row["objectId"] for row in night.truth}


def test_objects_keep_their_name_from_night_to_night(tmp_path: Path) -> None:
    nights = {}
    for day in range(1, 7):
        folder = tmp_path / str(day)
        folder.mkdir()
        write_night(
            NightRequest(date(2026, 1, day), 60, 5, mix={"VS": 1.0}),
            TarSink(folder / "n.tar.gz"),
            folder / "n.truth.parquet",
        )
        rows = pq.read_table(folder / "n.truth.parquet").to_pylist()
        nights[day] = {(row["key"], row["cycle"]): row["objectId"] for row in rows}
    seen = Counter(name for night in nights.values() for name in night.values())
    keys = {key: name for night in nights.values() for key, name in night.items()}
    assert all(night[key] == keys[key] for night in nights.values() for key in night)
    assert max(seen.values()) >= 2


def test_earlier_alerts_are_found_again_in_prv_candidates(tmp_path: Path) -> None:
    """What a night raised is listed, under the same candid, when the object is seen again."""
    first, later = tmp_path / "a", tmp_path / "b"
    candids: dict[str, set[int]] = {}
    listed: dict[str, set[int]] = {}
    for folder, day, found in ((first, 1, candids), (later, 3, listed)):
        folder.mkdir()
        archive = folder / "n.tar.gz"
        write_night(NightRequest(date(2026, 1, day), 150, 6, mix={"VS": 1.0}), TarSink(archive), folder / "t.parquet")
        for payload in packets_of(archive):
            record = next(fastavro.reader(io.BytesIO(payload)))
            earlier = {p["candid"] for p in record["prv_candidates"] or [] if p["candid"]}
            found.setdefault(record["objectId"], set()).update({record["candid"]} if day == 1 else earlier)
    both = set(candids) & set(listed)
    assert both
    assert all(candids[name] <= listed[name] for name in both)


def packets_of(archive: Path) -> Iterator[bytes]:
    with tarfile.open(archive) as tar:
        for member in tar:
            yield tar.extractfile(member).read()  # type: ignore[union-attr]


def test_history_is_older_than_the_alert_and_within_thirty_days(night: MadeNight) -> None:
    for record in night.records()[:100]:
        jd = record["candidate"]["jd"]
        for name in ("prv_candidates", "fp_hists"):
            dates = [entry["jd"] for entry in record[name] or []]
            assert dates == sorted(dates)
            assert all(jd - 31 <= date < jd for date in dates)


def test_upper_limits_are_null_and_detections_are_not(night: MadeNight) -> None:
    entries = [entry for record in night.records()[:100] for entry in record["prv_candidates"] or []]
    limits = [entry for entry in entries if entry["candid"] is None]
    assert limits
    assert len(limits) < len(entries)
    assert all(entry["magpsf"] is None and entry["diffmaglim"] > 15 for entry in limits)
    assert all(entry["magpsf"] is not None for entry in entries if entry["candid"] is not None)


def test_sentinels_are_the_survey_s(night: MadeNight) -> None:
    candidates = [record["candidate"] for record in night.records()]
    assert any(c["sgmag3"] == -999.0 for c in candidates)
    assert {c["ssdistnr"] for c in candidates if c["ssnamenr"] == "null"} <= {-999.0, 60.0}
    assert {c["isdiffpos"] for c in candidates} == {"t", "f"}


RATES = {"duplicates": 0.1, "shuffled": 0.1, "late": 0.05, "nan": 0.2, "edge": 0.1, "no_template": 0.1, "corrupt": 0.05}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> MadeNight:
    return make_night(tmp_path_factory.mktemp("faulty"), alerts=900, seed=8, faults=RATES)


@pytest.mark.parametrize("kind", list(RATES))
def test_faults_come_in_the_proportion_asked_for(faulty: MadeNight, kind: str) -> None:
    """Within four standard deviations of a binomial law."""
    count = sum(kind in row["faults"].split(",") for row in faulty.truth)
    expected = 900 * RATES[kind] * (1.0 if kind == "duplicates" else len(faulty.truth) / 900)
    assert abs(count - expected) < 4 * np.sqrt(expected)


def test_each_fault_shows_in_its_packets(faulty: MadeNight) -> None:
    first: dict[int, bytes] = {}
    for row, payload in zip(faulty.truth, faulty.payloads, strict=True):
        faults = set(filter(None, row["faults"].split(",")))
        if "duplicates" in faults:
            assert payload == first[row["candid"]]
        first.setdefault(row["candid"], payload)
        if "corrupt" in faults:
            continue
        record = next(fastavro.reader(io.BytesIO(payload)))
        assert (record["cutoutTemplate"] is None) == ("no_template" in faults)
        assert ("nan" not in faults) or row["nan_pixels"] > 0
        if "edge" in faults:
            header = gzip.decompress(record["cutoutScience"]["stampData"])[:2880]
            assert f"NAXIS1  = {63:20d}".encode() not in header


def test_corrupt_packets_are_no_valid_alert(faulty: MadeNight) -> None:
    for row, payload in zip(faulty.truth, faulty.payloads, strict=True):
        if "corrupt" in row["faults"].split(","):
            assert payload not in (p for r, p in zip(faulty.truth, faulty.payloads, strict=True) if not r["faults"])


def test_disorder_is_only_where_it_was_asked_for(faulty: MadeNight) -> None:
    moved = {"shuffled", "late", "duplicates"}
    kept = [row["jd"] for row in faulty.truth if not moved & set(row["faults"].split(","))]
    assert kept == sorted(kept)
    assert [row["jd"] for row in faulty.truth] != sorted(row["jd"] for row in faulty.truth)


@pytest.mark.parametrize("name", ["night.tar.gz", "night"])
def test_an_interrupted_night_leaves_nothing(tmp_path: Path, name: str) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    sink = TarSink(tmp_path / name) if name.endswith("gz") else DirectorySink(tmp_path / name)
    with pytest.raises(KeyboardInterrupt):
        write_night(NightRequest(date(2026, 1, 1), 5), sink, tmp_path / "night.truth.parquet", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_holds_what_the_archive_holds(night: MadeNight, tmp_path: Path) -> None:
    write_night(NightRequest(date(2026, 1, 1), 40, 3), DirectorySink(tmp_path / "n"), tmp_path / "n.truth.parquet")
    make_night(tmp_path, alerts=40, seed=3)
    files = {path.name: path.read_bytes() for path in (tmp_path / "n").iterdir()}
    assert files == dict(zip(*_members(tmp_path / "night.tar.gz"), strict=True))


def test_a_tar_is_plain_or_compressed_as_its_name_says_and_holds_the_same(tmp_path: Path) -> None:
    request, heads = (
        NightRequest(date(2026, 1, 1), 20, 3),
        {"n.tar": b"", "n.tar.gz": b"\x1f\x8b", "n.tgz": b"\x1f\x8b"},
    )
    for name, magic in heads.items():
        write_night(request, sink_for(str(tmp_path / name), "topic", Pace()), tmp_path / f"{name}.truth.parquet")
        assert (tmp_path / name).read_bytes().startswith(magic)
    with tarfile.open(tmp_path / "n.tar", "r:") as plain:  # no compression is tried
        assert len(plain.getnames()) == 20
    assert _members(tmp_path / "n.tar") == _members(tmp_path / "n.tar.gz") == _members(tmp_path / "n.tgz")


@pytest.mark.parametrize("name", ["n.zip", "n.tar.xz", "n.tar.bz2", "n.gz", "n.avro"])
def test_an_archive_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"archive is written; give a name in \.tar, \.tar\.gz, \.tgz"):
        sink_for(str(tmp_path / name), "topic", Pace())
    assert list(tmp_path.iterdir()) == []


def _members(archive: Path) -> tuple[list[str], list[bytes]]:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        return [m.name for m in members], [tar.extractfile(m).read() for m in members]  # type: ignore[union-attr]
