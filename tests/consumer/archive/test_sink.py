import csv
import json
import os
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consumer.archive.journal import ReplayJournal
from consumer.archive.sink import DiscardSink, FileSink, check_writable
from consumer.configuration.settings import OutputSettings
from consumer.errors import OutputError, Reason
from model_zoo.classes import CLASSES
from schemas import load_schema
from tests.support.makers import dead, made, results

SUFFIXES = [".parquet", ".avro", ".jsonl"]
NAMES = [field["name"] for field in load_schema("classification/1/classification")["fields"]]


def sink_at(out: Path | None, dead_letters: Path | None = None, *, part: int = 1, resume: bool = False) -> FileSink:
    target = out or dead_letters
    assert target is not None
    journal = ReplayJournal(target.with_name(f"{target.name}.parts"), {"of": "a test"})
    earlier = journal.resume() if resume else journal.begin()
    return FileSink(OutputSettings(checkpoint_messages=part, checkpoint_s=3_600), journal, out, dead_letters, earlier)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    with path.open("rb") as file:
        return list(fastavro.reader(file))  # type: ignore[arg-type]


def candids(path: Path) -> list[int]:
    return [row["candid"] for row in read(path)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_records_come_back_in_order_from_one_file(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"night{suffix}"
    sink = sink_at(out)
    for candid in (3, 1, 2):
        sink.publish(results(made(candid)))
    sink.finish()
    assert candids(out) == [3, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == [out.name], "parts and journal are gone"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_has_the_same_names_and_values(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"night{suffix}"
    sink = sink_at(out)
    sink.publish(results(made(2**62, kafka_time=None)))
    sink.finish()
    [row] = read(out)
    assert list(row)[: len(NAMES)] == NAMES
    assert (row["candid"], row["jd"], row["history_truncated"]) == (2**62, 2461000.123456789, False)
    assert list(row["flags"]) == ["padded", "late"]
    assert dict(row["sequence_probabilities"]) == dict.fromkeys(CLASSES, 0.125) | {"SN": 0.5}
    assert row["kafka_time"] is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_run_without_results_is_an_empty_file_that_can_be_read(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"night{suffix}"
    sink_at(out).finish()
    assert read(out) == []


def test_parquet_keeps_times_as_times_and_maps_as_maps(tmp_path: Path) -> None:
    out = tmp_path / "night.parquet"
    sink = sink_at(out)
    sink.publish(results(made(1)))
    sink.finish()
    schema = pq.read_schema(out)
    assert schema.field("classified_time").type == pa.timestamp("ms", tz="UTC")
    assert schema.field("sequence_probabilities").type == pa.map_(pa.string(), pa.float32())
    [row] = read(out)
    assert [row[f"probability_{name}"] for name in CLASSES] == [0.125, 0.5, 0.125, 0.125, 0.125]


def test_csv_is_one_flat_row_a_record_and_its_parts_are_one_file(tmp_path: Path) -> None:
    out = tmp_path / "night.csv"
    sink = sink_at(out)
    sink.publish(results(made(2**62), made(2, kafka_time=None, band=None, magnitude=None)))
    sink.publish(results(made(3, best="AGN", objectId='ZTF "26", a')))
    sink.finish()
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["candid"] for row in rows] == [str(2**62), "2", "3"]
    assert rows[2]["objectId"] == 'ZTF "26", a'
    assert (rows[0]["class"], rows[0]["probability_SN"], rows[0]["probability_AGN"]) == ("SN", "0.5", "0.125")
    assert (rows[0]["ra"], rows[0]["magnitude"], rows[0]["band"]) == ("150.25", "18.5", "r")
    assert rows[0]["observed_time"] == "2025-12-04T11:11:06.667Z"
    assert rows[0]["flags"] == "padded late"
    assert (rows[1]["kafka_time"], rows[1]["band"], rows[1]["magnitude"]) == ("", "", "")
    assert not {"probabilities", "alert_probabilities"} & set(rows[0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_replay_goes_on_nothing_twice_and_nothing_missing(tmp_path: Path, suffix: str) -> None:
    """Parts of two messages: the fifth was not in a finished part when the kill came."""
    out, letters = tmp_path / f"night{suffix}", tmp_path / "dead.avro"
    sink = sink_at(out, letters, part=2)
    for candid in range(5):
        sink.publish(results(made(candid), dead_letters=(dead(offset=candid),)))
    del sink
    again = sink_at(out, letters, part=2, resume=True)
    done = again.account.classified
    assert again.candids == list(range(done))
    assert again.messages == 2 * done, "as many as the source has to skip"
    for candid in range(done, 7):
        again.publish(results(made(candid), dead_letters=(dead(offset=candid),)))
    again.finish()
    assert candids(out) == list(range(7))
    assert [letter["position"] for letter in read(letters)] == list(range(7))


def test_a_part_that_was_written_and_not_journalled_is_written_again(tmp_path: Path) -> None:
    out = tmp_path / "night.jsonl"
    sink = sink_at(out)
    sink.publish(results(made(1)))
    (tmp_path / "night.jsonl.parts" / "000001.jsonl").write_text("half a li")
    again = sink_at(out, resume=True)
    again.publish(results(made(2)))
    again.finish()
    assert candids(out) == [1, 2]


def test_a_kill_while_joining_leaves_a_replay_that_can_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "night.avro"
    sink = sink_at(out)
    sink.publish(results(made(1)))
    out.write_bytes(b"half of a file")
    sink_at(out, resume=True).finish()
    assert candids(out) == [1]


def test_a_line_of_the_journal_is_synced_after_the_parts_that_it_speaks_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut cannot be had in a test: what is asked of the disk is noted, and asked."""
    synced: list[tuple[str, int]] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, os.fstat(descriptor).st_size))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    sink = sink_at(tmp_path / "night.jsonl", tmp_path / "dead.avro")
    parts = tmp_path / "night.jsonl.parts"
    sink.publish(results(made(1), dead_letters=(dead(),)))
    names = ["journal.jsonl", "000000.jsonl", "000000.dead.avro", "journal.jsonl"]
    assert [name for name, _ in synced] == names
    assert [size for _, size in synced[1:]] == [(parts / name).stat().st_size for name in names[1:]], "all of each"


def test_an_ordered_stop_keeps_the_part_in_hand(tmp_path: Path) -> None:
    out = tmp_path / "night.jsonl"
    sink = sink_at(out, part=1_000)
    sink.publish(results(made(1)))
    sink.close()
    assert not out.exists(), "the name appears when the replay is whole"
    assert sink_at(out, resume=True).account.classified == 1


def test_dead_letters_alone_may_be_kept_with_their_bytes(tmp_path: Path) -> None:
    letters = tmp_path / "dead.avro"
    sink = sink_at(None, letters)
    payload = bytes(range(256))
    sink.publish(results(dead_letters=(dead(payload=payload), dead(Reason.TOMBSTONE, payload=None))))
    sink.finish()
    assert [(letter["payload"], letter["reason"]) for letter in read(letters)] == [
        (payload, "corrupt_container"),
        (None, "tombstone"),
    ]


def test_an_output_that_cannot_be_written_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "night.jsonl"
    sink = sink_at(out)
    (tmp_path / "night.jsonl.parts" / "000000.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"000000.jsonl cannot be written: .*; fix that, then go on with --resume"):
        sink.publish(results(made(1)))


def test_formats_and_folders_are_checked_before_a_night_is_read(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"night.txt has no known format; end it in .parquet, .avro, .jsonl, .csv"):
        check_writable(tmp_path / "night.txt", None)
    with pytest.raises(OutputError, match=r"folder .*none does not exist"):
        check_writable(None, tmp_path / "none" / "dead.avro")
    check_writable(tmp_path / "night.parquet", tmp_path / "anything")


def test_a_discarding_sink_keeps_nothing() -> None:
    sink = DiscardSink()
    sink.publish(results(made(1)))
    sink.finish()
    assert (sink.messages, list(sink.candids), sink.account.read) == (0, [], 0)
