"""The straight line, end to end: real broker, real store, whole processes."""

import io
import json
import random
import signal
from pathlib import Path

import fastavro
import pyarrow.parquet as pq
import pytest
import redis

from tests.support.line import (
    answer,
    classifications,
    consuming,
    environment,
    estampa,
    estampa_here,
    last_by_candid,
    new_topics,
    payloads,
    produce,
    read_topic,
    start,
    start_held,
    state,
    unique,
    wait_until,
    write_tar,
)
from tests.support.packets import Packet, blob, night, packed

pytestmark = pytest.mark.integration


def replayed(checkpoint: Path, store: str, archive: Path, folder: Path, *words: str) -> dict[int, tuple[object, ...]]:
    """Replay into `folder`; the answer for each candid."""
    out = folder / f"{unique('out')}.jsonl"
    done = estampa_here(environment(checkpoint, store__url=store), "replay", str(archive), "--out", str(out), *words)
    assert done.returncode == 0, done.stderr
    return {record["candid"]: answer(record) for record in map(json.loads, out.read_text().splitlines())}


def test_live_and_replay_give_the_same_classifications(
    broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    packets = payloads(night(objects=20, visits=5))
    archive = write_tar(tmp_path / "night.tar.gz", packets)
    from_file = replayed(checkpoint_folder, store_url, archive, tmp_path)
    file_state = state(store_url)
    redis.Redis.from_url(store_url).flushdb()

    topics = new_topics(broker)
    produce(broker, topics["topic"], packets)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"), batch__size="7")
    done = estampa(env, "consume", "--exit-at-end", "--summary", str(tmp_path / "live.json"))
    assert done.returncode == 0, done.stderr
    live = classifications(read_topic(broker, topics["output"]))
    assert {record["candid"]: answer(record) for record in live} == from_file
    assert state(store_url) == file_state
    summary = json.loads((tmp_path / "live.json").read_text())
    assert (summary["read"], summary["classified"], summary["dead_lettered"]) == (100, 100, {})
    assert summary["latency_ms"]["p50"] > 0


@pytest.mark.parametrize("size", [1, 7, 512])
def test_shuffled_doubled_and_in_any_batches_the_state_is_the_same(
    size: int, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    packets = payloads(night(objects=10, visits=4))
    replayed(checkpoint_folder, store_url, write_tar(tmp_path / "night.tar.gz", packets), tmp_path)
    undisturbed = state(store_url)
    redis.Redis.from_url(store_url).flushdb()

    mixed = packets * 2
    random.Random(size).shuffle(mixed)
    archive = write_tar(tmp_path / "mixed.tar", mixed)
    answers = replayed(checkpoint_folder, store_url, archive, tmp_path, "--batch-size", str(size))
    assert len(answers) == 40
    assert state(store_url) == undisturbed


def test_answers_do_not_depend_on_batches(store_url: str, checkpoint_folder: Path, tmp_path: Path) -> None:
    mixed = payloads(night(objects=10, visits=6))
    random.Random(3).shuffle(mixed)
    archive = write_tar(tmp_path / "mixed.tar", mixed)
    answers = []
    for size in (1, 7, 64, 512):
        redis.Redis.from_url(store_url).flushdb()
        answers.append(replayed(checkpoint_folder, store_url, archive, tmp_path, "--batch-size", str(size)))
    assert answers[0] == answers[1] == answers[2] == answers[3]


def test_a_consumer_killed_in_mid_night_loses_nothing(
    broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    packets = payloads(night(objects=60, visits=10))
    topics = new_topics(broker, partitions=2)
    produce(broker, topics["topic"], packets)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"), batch__size="8")
    client = redis.Redis.from_url(store_url)
    for kill in range(3):
        process = start(env, "consume")
        wait_until(
            lambda kill=kill: client.dbsize() > 0 and alerts_held(store_url) >= 60 * (kill + 1), what="the night"
        )
        process.kill()
        process.communicate()
    done = estampa(env, "consume", "--exit-at-end")
    assert done.returncode == 0, done.stderr
    published = classifications(read_topic(broker, topics["output"]))
    assert set(last_by_candid(published)) == {packet.candid for packet in night(objects=60, visits=10)}
    after_kills = state(store_url)

    client.flushdb()
    undisturbed = consuming(checkpoint_folder, broker, store_url, topics, unique("g"))
    assert estampa_here(undisturbed, "consume", "--exit-at-end").returncode == 0
    assert after_kills == state(store_url)


def alerts_held(url: str) -> int:
    return sum(len(fields) for fields in state(url).values())


def test_two_consumers_share_a_topic_and_one_leaves(broker: str, store_url: str, checkpoint_folder: Path) -> None:
    packets = payloads(night(objects=40, visits=10))
    topics = new_topics(broker, partitions=4)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"), batch__size="8")
    members = [start(env, "consume"), start(env, "consume")]
    try:
        for member in members:  # one that still loads its model has no handler that ends it in order
            assert any("partitions_assigned" in line for line in member.stderr or ())
        for part in range(4):
            produce(broker, topics["topic"], packets[part::4], partition=part)
        wait_until(lambda: alerts_held(store_url) >= 200, what="half of the night")
        members[0].send_signal(signal.SIGTERM)
        _, log = members[0].communicate(timeout=60)
        assert members[0].returncode == 0, log
        wait_until(lambda: alerts_held(store_url) == 400, what="the whole night")
    finally:
        for member in members[1:]:
            member.send_signal(signal.SIGTERM)
            member.communicate(timeout=60)
    assert members[1].returncode == 0
    published = classifications(read_topic(broker, topics["output"]))
    assert set(last_by_candid(published)) == {packet.candid for packet in night(objects=40, visits=10)}


def test_bad_alerts_become_dead_letters_whole_and_the_rest_goes_on(
    broker: str, store_url: str, checkpoint_folder: Path
) -> None:
    good = payloads(night(objects=3, visits=2))
    whole = Packet(candid=99)
    bad: dict[str, bytes | None] = {
        "tombstone": None,
        "empty_message": b"",
        "not_an_avro_container": b"random bytes, of no kind",
        "corrupt_container": whole.payload()[:-100],
        "missing_cutout": whole.at(stamps={"science": None, "template": None, "difference": None}).payload(),
        "stamp_shape": whole.at(stamps={"science": packed(blob(1, side=65))}).payload(),
        "blank_stamp": whole.at(stamps={"difference": packed(blob(1) * float("nan"))}).payload(),
        "programid_not_admitted": whole.at(programid=2).payload(),
    }
    topics = new_topics(broker)
    produce(broker, topics["topic"], [*good[:3], *bad.values(), *good[3:]])
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"))
    assert estampa_here(env, "consume", "--exit-at-end").returncode == 0
    assert len(classifications(read_topic(broker, topics["output"]))) == 6
    letters = read_topic(broker, topics["dead"])
    assert len(letters) == len(bad)
    for offset, ((reason, payload), letter) in enumerate(zip(bad.items(), letters, strict=True), start=3):
        headers = {name: value.decode() for name, value in letter.headers()}
        assert headers["estampa.reason"] == reason
        assert headers["estampa.source"] == topics["topic"]
        assert headers["estampa.position"] == str(offset)
        assert headers["estampa.message"]
        assert letter.value() == (None if reason == "programid_not_admitted" else payload)


def test_a_stream_of_bad_alerts_stops_the_consumer(broker: str, store_url: str, checkpoint_folder: Path) -> None:
    topics = new_topics(broker)
    produce(broker, topics["topic"], [b"of another survey"] * 60)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"), limits__dead_letter_run="50")
    done = estampa(env, "consume", "--exit-at-end")
    assert done.returncode == 1
    assert "dead letters" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert len(read_topic(broker, topics["dead"])) == 60


def test_a_store_that_forgot_is_refilled_from_kafka(broker: str, store_url: str, checkpoint_folder: Path) -> None:
    packets = payloads(night(objects=10, visits=4))
    topics = new_topics(broker, partitions=2)
    produce(broker, topics["topic"], packets)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"))
    assert estampa_here(env, "consume", "--exit-at-end").returncode == 0
    before = state(store_url)
    redis.Redis.from_url(store_url).flushdb()
    done = estampa_here(env, "consume", "--exit-at-end")
    assert done.returncode == 0
    assert "store_behind" in done.stderr
    assert state(store_url) == before

    redis.Redis.from_url(store_url).flushdb()
    done = estampa_here(env | {"ESTAMPA__STORE__WHEN_BEHIND": "stop"}, "consume", "--exit-at-end")
    assert done.returncode == 1
    assert "store holds" in done.stderr.splitlines()[-1]


def test_start_latest_holds_for_the_first_start_only(broker: str, store_url: str, checkpoint_folder: Path) -> None:
    old, new = payloads(night(objects=5, visits=1)), payloads(night(objects=5, visits=1, first_candid=5000))
    topics = new_topics(broker)
    produce(broker, topics["topic"], old, each=True)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"), kafka__start="latest")
    assert estampa_here(env, "consume", "--exit-at-end").returncode == 0
    assert read_topic(broker, topics["output"]) == []
    produce(broker, topics["topic"], new, each=True)
    assert estampa_here(env, "consume", "--exit-at-end").returncode == 0
    published = classifications(read_topic(broker, topics["output"]))
    assert sorted(record["candid"] for record in published) == list(range(5000, 5005))


def test_a_killed_replay_resumes_with_nothing_twice_and_nothing_missing(
    checkpoint_folder: Path, tmp_path: Path
) -> None:
    packets = night(objects=300, visits=10)
    archive = write_tar(tmp_path / "night.tar", payloads(packets) + payloads(packets[:50]))
    out, dead = tmp_path / "out.parquet", tmp_path / "dead.avro"
    words = ("replay", str(archive), "--out", str(out), "--dead-letters", str(dead), "--batch-size", "16")
    words += ("--state-dir", str(tmp_path / "state"), "--summary", str(tmp_path / "summary.json"))
    env = environment(checkpoint_folder, output__part_messages="400")
    journal = tmp_path / "out.parquet.parts" / "journal.jsonl"
    for parts in (2, 4):
        process = start_held(env, 80, *words, "--resume")
        wait_until(lambda parts=parts: journal.exists() and journal.read_text().count("\n") > parts, what="a part")
        process.kill()
        process.communicate()
        assert not out.exists()
    done = estampa_here(env, *words, "--resume")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["read"], summary["classified"], summary["duplicates"]) == (3050, 3000, 50)
    assert sorted(pq.read_table(out)["candid"].to_pylist()) == sorted(packet.candid for packet in packets)
    assert list(fastavro.reader(io.BytesIO(dead.read_bytes()))) == []
    assert not journal.exists()


def test_an_interrupted_replay_says_how_to_go_on(checkpoint_folder: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "night.tar", payloads(night(objects=300, visits=8)))
    out, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.parts" / "journal.jsonl"
    env = environment(checkpoint_folder, output__part_messages="8")
    words = ("replay", str(archive), "--out", str(out), "--batch-size", "8", "--state-dir", str(tmp_path / "state"))
    process = start_held(env, 20, *words)
    wait_until(lambda: journal.exists() and journal.read_text().count("\n") > 1, what="the first part")
    process.send_signal(signal.SIGINT)
    shown, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "--resume" in shown
    again = estampa_here(env, *words)
    assert again.returncode == 1
    assert "add --resume" in again.stderr.splitlines()[-1]
    assert estampa_here(env, *words, "--resume").returncode == 0
    assert len(out.read_text().splitlines()) == 2400


def test_what_the_store_knows_of_an_object_develops_as_it_was_published(
    store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    packets = night(objects=3, visits=5)
    archive = write_tar(tmp_path / "night.tar", payloads(packets))
    answers = replayed(checkpoint_folder, store_url, archive, tmp_path)
    env = environment(checkpoint_folder, store__url=store_url)
    shown = estampa_here(env, "object", packets[0].object_id, "--json")
    steps = json.loads(shown.stdout)
    assert [step["candid"] for step in steps] == [packet.candid for packet in packets[::3]]
    for step in steps:
        assert tuple(sorted(step["sequence_probabilities"].items())) == answers[step["candid"]][1]
    unknown = estampa_here(env, "object", "ZTF00nothing")
    assert unknown.returncode == 1
    assert "holds nothing" in unknown.stderr


def test_solar_system_objects_are_one_sequence_under_their_designation(
    store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    known = {"ssdistnr": 0.5, "ssnamenr": "1234"}
    packets = [
        Packet(candid=1, object_id="ZTF26one", jd=2461000.1, **known),
        Packet(candid=2, object_id="ZTF26two", jd=2461000.2, **known),
        Packet(candid=3, object_id="ZTF26far", jd=2461000.3, ssdistnr=12.0, ssnamenr="1234"),
        Packet(candid=4, object_id="ZTF26nil", jd=2461000.4, ssdistnr=0.5, ssnamenr="null"),
    ]
    archive = write_tar(tmp_path / "night.tar", payloads(packets))
    answers = replayed(checkpoint_folder, store_url, archive, tmp_path)
    assert [answers[candid][3] for candid in (1, 2, 3, 4)] == [1, 2, 1, 1]
    shown = estampa_here(environment(checkpoint_folder, store__url=store_url), "object", "1234")
    assert "2 alerts" in shown.stdout
