"""Dead letters have a way back: listed, shown, exported, put through again, reconciled."""

import json
import time
import tracemalloc
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fastavro
import pytest

from consumer.cli.deadletters.listing import each, export
from consumer.cli.deadletters.reader import DeadLetterReader, DeadLetterSource
from consumer.configuration.settings import KafkaSettings, Settings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.embedded import create_topics
from consumer.errors import BadAlert, Reason
from consumer.kafka.reader import CHUNK, TopicReader
from consumer.message import Message
from schemas import load_schema
from tests.support.line import (
    classifications,
    consuming,
    environment,
    estampa_here,
    new_topics,
    payloads,
    produce,
    read_topic,
    unique,
    write_tar,
)
from tests.support.packets import Packet, blob, container, night, packed


def letter(payload: bytes | None, offset: int = 3, reason: Reason = Reason.EMPTY) -> DeadLetter:
    return DeadLetter.of(Message(payload, "a:topic", 2, offset), 1, BadAlert(reason, "why: 65×65"))


@pytest.mark.parametrize("payload", [b"bytes", b"", None])
def test_a_letter_comes_back_from_its_headers_and_from_its_record(payload: bytes | None) -> None:
    sent = letter(payload)
    assert DeadLetter.from_headers(payload, dict(sent.headers())) == sent
    assert DeadLetter.from_record(sent.record()) == sent


def test_each_packet_goes_again_once_and_one_without_bytes_not_at_all() -> None:
    source = DeadLetterSource([letter(b"x"), letter(b"x"), letter(None, 4), letter(b"y", 5)], batch_size=1)
    batches = list(source.batches())
    assert [one.payload for batch in batches for one in batch.messages] == [b"x", b"y"]
    assert [batch.offsets for batch in batches] == [{}, {}]
    source.commit(batches[0])
    assert source.done == {("a:topic", 2, 3)}


def letter_file(path: Path, letters: Iterable[DeadLetter]) -> Path:
    """As a replay leaves it."""
    with path.open("wb") as file:
        fastavro.writer(file, load_schema("deadletter/1/dead_letter"), (one.record() for one in letters))
    return path


def test_of_an_alert_s_letters_the_last_one_says_why_and_is_the_one_that_is_read(tmp_path: Path) -> None:
    """First a limit was too low; then the packet itself proved bad."""
    told = [letter(b"old"), letter(b"other", 4), letter(b"new", reason=Reason.CORRUPT)]
    file = letter_file(tmp_path / "dead.avro", told)
    for reasons, kept in (((), [b"other", b"new"]), (("empty_message",), [b"other"])):
        asked = DeadLetterReader(file, reasons)
        slips = asked.infos(Settings())
        assert sorted(slip.size or 0 for slip in slips) == sorted(map(len, kept))
        assert [one.payload for one in asked.letters(Settings(), slips)] == kept


def test_the_time_of_a_letter_has_one_form_in_every_output(tmp_path: Path, checkpoint_folder: Path) -> None:
    sent, expected = replace(letter(b"x"), time_ms=1_769_832_000_250), "2026-01-31T04:00:00.250Z"
    file, env = letter_file(tmp_path / "dead.avro", [sent]), environment(checkpoint_folder)
    of_file = ("--dead-letters", str(file))
    [by_reason] = json.loads(estampa_here(env, "deadletters", "list", *of_file, "--json").stdout)
    [row] = json.loads(estampa_here(env, "deadletters", "list", *of_file, "--each", "--json").stdout)
    shown = json.loads(estampa_here(env, "deadletters", "show", row["place"], *of_file).stdout)
    assert estampa_here(env, "deadletters", "export", str(tmp_path / "out"), *of_file).returncode == 0
    index = json.loads((tmp_path / "out" / "index.jsonl").read_text())
    assert {by_reason["first"], by_reason["last"], row["time"], shown["time"], index["time"]} == {expected}


def test_no_more_letters_are_in_memory_than_go_through_at_once(tmp_path: Path) -> None:
    size, count = 100_000, 200
    file = letter_file(tmp_path / "dead.avro", (letter(bytes(size), offset) for offset in range(count)))
    asked = DeadLetterReader(file)
    tracemalloc.start()
    try:
        slips = asked.infos(Settings())
        rows = each(slips)
        exported = export(asked.letters(Settings(), slips), tmp_path / "out")
        source = DeadLetterSource(asked.letters(Settings(), slips), batch_size=2)
        replayed = sum(len(batch.messages) for batch in source.batches())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(rows) == exported["exported"] == replayed == count
    assert peak < 20 * size


@pytest.mark.integration
def test_whoever_reads_a_topic_s_letters_slowly_is_not_taken_for_a_broker_that_is_silent(
    broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, read_for = unique("night"), 0.0
    monkeypatch.setattr("consumer.kafka.reader.time", SimpleNamespace(monotonic=lambda: time.monotonic() + read_for))
    create_topics(broker, {topic: 1})
    produce(broker, topic, [b"x"] * (CHUNK + 100))
    with closing(TopicReader(settings := KafkaSettings(brokers=broker))) as scan:
        found = scan.messages([topic])
        next(found)
        read_for = 2 * settings.broker_timeout_s
        assert len(list(found)) == CHUNK + 99


def bad_night() -> list[bytes | None]:
    """Six good alerts; then one each that admission, decoding and a limit refuse, and a tombstone."""
    good = payloads(night(objects=3, visits=2))
    return [*good, Packet(candid=50, programid=2).payload(), b"of no kind", Packet(candid=60).payload()[:-90], None]


@pytest.mark.integration
def test_letters_of_the_topic_are_listed_shown_and_exported_whole(
    broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    topics, sent = new_topics(broker), bad_night()
    produce(broker, topics["topic"], sent)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"))
    for group in ("one", "two"):  # a batch seen twice leaves each letter twice
        again = env | {"ESTAMPA__KAFKA__GROUP": unique(group)}
        assert estampa_here(again, "consume", "--exit-at-end").returncode == 0
    assert len(read_topic(broker, topics["dead"])) == 8

    rows = json.loads(estampa_here(env, "deadletters", "list", "--json").stdout)
    reasons = {"programid_not_admitted", "not_an_avro_container", "corrupt_container", "tombstone"}
    assert {row["reason"]: row["letters"] for row in rows} == dict.fromkeys(reasons, 1)
    listed = estampa_here(env, "deadletters", "list", "--each", "--reason", "corrupt_container", "--json")
    [row] = json.loads(listed.stdout)
    assert row["place"] == f"{topics['topic']}:0:8:0"
    shown = json.loads(estampa_here(env, "deadletters", "show", row["place"]).stdout)
    assert shown["bytes"] == len(sent[8] or b"")
    assert shown["decodes_today"][-1].startswith("corrupt_container")

    done = estampa_here(env, "deadletters", "export", str(tmp_path / "out"))
    assert json.loads(done.stdout) == {"letters": 4, "exported": 2, "without_bytes": 2}
    index = [json.loads(line) for line in (tmp_path / "out" / "index.jsonl").read_text().splitlines()]
    files = {one["reason"]: (tmp_path / "out" / one["file"]).read_bytes() for one in index if one["file"]}
    assert files == {"not_an_avro_container": sent[7], "corrupt_container": sent[8]}
    again = estampa_here(env, "deadletters", "export", str(tmp_path / "out"))
    assert again.returncode == 1
    assert "is not empty" in again.stderr.splitlines()[-1]


@pytest.mark.integration
def test_after_a_fix_letters_go_through_again_and_every_one_is_accounted_for(
    broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    """The fault is ours: a limit far too low. Then it is mended."""
    topics, sent = new_topics(broker), bad_night()
    produce(broker, topics["topic"], sent)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"), limits__dead_letter_run="100")
    low = env | {"ESTAMPA__LIMITS__PACKET_BYTES": "5000"}
    done = estampa_here(low, "consume", "--exit-at-end")
    assert done.returncode == 1
    assert "none of 10 alerts was classified (" in done.stderr.splitlines()[-1]
    assert classifications(read_topic(broker, topics["output"])) == []

    summary = tmp_path / "summary.json"
    done = estampa_here(env, "deadletters", "replay", "--summary", str(summary))
    assert done.returncode == 0, done.stderr
    still = {"programid_not_admitted": 1, "not_an_avro_container": 1, "corrupt_container": 1}
    expected = {"all": 10, "recovered": 6, "still_dead": still, "without_bytes": 1, "not_tried": 0}
    assert json.loads(summary.read_text())["letters"] == expected
    made = classifications(read_topic(broker, topics["output"]))
    assert {one["candid"] for one in made} == {packet.candid for packet in night(objects=3, visits=2)}
    assert {(one["topic"], one["offset"]) for one in made} == {(topics["topic"], offset) for offset in range(6)}
    assert sum(message.value() is not None for message in read_topic(broker, topics["dead"])) == 9  # one had no bytes

    [left] = [json.loads(estampa_here(env, "deadletters", "list", "--json").stdout)]
    assert sum(row["letters"] for row in left) == 4
    again = estampa_here(env, "deadletters", "replay", "--summary", str(summary), "--overwrite")
    assert again.returncode == 0, again.stderr
    assert json.loads(summary.read_text())["letters"]["recovered"] == 0
    assert len(classifications(read_topic(broker, topics["output"]))) == len(made)


@pytest.mark.integration
def test_letters_of_a_file_go_through_again_into_a_file(
    store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    archive = write_tar(tmp_path / "night.tar", [one for one in bad_night() if one])
    dead, out = tmp_path / "dead.avro", tmp_path / "out.jsonl"
    low = environment(checkpoint_folder, limits__stamp_bytes="10000", store__url=store_url)
    assert estampa_here(low, "replay", str(archive), "--dead-letters", str(dead)).returncode == 1
    env = environment(checkpoint_folder, store__url=store_url)
    words = ("--dead-letters", str(dead), "--reason", "too_large")
    [row] = json.loads(estampa_here(env, "deadletters", "list", *words, "--json").stdout)
    assert row["letters"] == 6
    done = estampa_here(env, "deadletters", "replay", *words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert len(out.read_text().splitlines()) == 6
    assert not (tmp_path / "out.jsonl.parts").exists()


@pytest.mark.integration
def packet_of_three() -> bytes:
    """A container of an alert at the detector's edge, with stamps of 14,400 bytes, one of 20,160, one of no gzip."""
    cut = {name: packed(blob(seed)[:, 23:]) for seed, name in enumerate(("science", "template", "difference"))}
    broken = {"science": b"no gzip"}
    return container([Packet(candid=70, stamps=cut, xpos=8.0), Packet(candid=71), Packet(candid=72, stamps=broken)])


def test_of_a_container_only_the_alert_that_is_classified_at_last_is_recovered(
    store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    """Two of three alerts of one packet fail; a limit is raised, which helps one of them."""
    archive = write_tar(tmp_path / "night.tar", [packet_of_three()])
    dead, summary = tmp_path / "dead.avro", tmp_path / "summary.json"
    low = environment(checkpoint_folder, limits__stamp_bytes="20000", store__url=store_url)
    assert estampa_here(low, "replay", str(archive), "--dead-letters", str(dead)).returncode == 0
    env = environment(checkpoint_folder, store__url=store_url)
    of_file = ("--dead-letters", str(dead))

    def listed(*words: str) -> dict[str, int]:
        rows = json.loads(estampa_here(env, "deadletters", "list", *of_file, *words, "--json").stdout)
        return {row["reason"]: row["letters"] for row in rows}

    def replayed(out: str) -> tuple[list[int], dict[str, object]]:
        words = ("--out", str(tmp_path / out), "--summary", str(summary), "--overwrite")
        done = estampa_here(env, "deadletters", "replay", *of_file, *words)
        assert done.returncode == 0, done.stderr
        published = [json.loads(line)["candid"] for line in (tmp_path / out).read_text().splitlines()]
        return published, json.loads(summary.read_text())["letters"]

    assert listed() == {"too_large": 1, "unreadable_stamp": 1}
    first = {"all": 2, "recovered": 1, "still_dead": {"unreadable_stamp": 1}, "without_bytes": 0, "not_tried": 0}
    assert replayed("first.jsonl") == ([70, 71], first)
    assert listed() == {"unreadable_stamp": 1}
    assert listed("--all") == {"too_large": 1, "unreadable_stamp": 1}

    beside = dead.with_name("dead.avro.recovered.jsonl")
    whole = beside.read_bytes()
    second = {"all": 1, "recovered": 0, "still_dead": {"unreadable_stamp": 1}, "without_bytes": 0, "not_tried": 0}
    assert replayed("second.jsonl") == ([], second)

    beside.write_bytes(whole[:-9])  # as a kill leaves it
    assert listed() == {"too_large": 1, "unreadable_stamp": 1}
    assert replayed("third.jsonl") == ([70, 71], first)
    assert listed() == {"unreadable_stamp": 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "--reason", "nosuch"), "known are tombstone"),
        (("list", "--dead-letters", "/nowhere.avro"), "/nowhere.avro cannot be read"),
        (("list", "--dead-letters", __file__), "holds no dead letters"),
    ],
)
def test_bad_words_about_letters_are_one_clear_line(words: tuple[str, ...], said: str, checkpoint_folder: Path) -> None:
    done = estampa_here(environment(checkpoint_folder), "deadletters", *words)
    assert done.returncode in {1, 2}
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_a_topic_that_holds_no_letters_is_named(broker: str, checkpoint_folder: Path) -> None:
    topics = new_topics(broker)
    produce(broker, topics["topic"], [b"an alert"])
    env = environment(checkpoint_folder, kafka__brokers=broker, output__dead_letter_topic=topics["topic"])
    done = estampa_here(env, "deadletters", "list")
    assert done.returncode == 1
    assert f"message 0 of {topics['topic']} [0] is no dead letter" in done.stderr.splitlines()[-1]
