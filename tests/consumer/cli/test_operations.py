"""Audit and doctor: what is missing, what is wrong, and the mend."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from consumer.cli import doctor
from consumer.cli.audit import Night, NightCounts, account
from consumer.configuration.settings import OutputSettings
from consumer.decoding.alert import Alert
from consumer.embedded import start_store
from consumer.errors import BadAlert, EstampaError, Reason
from consumer.kafka.sink import Encoder
from tests.support.line import (
    classifications,
    consuming,
    estampa_here,
    new_topics,
    payloads,
    produce,
    read_topic,
    unique,
)
from tests.support.makers import made
from tests.support.packets import Packet, night


def alert(candid: int) -> Alert:
    return Alert("ZTF26a", candid, 1.0, 1, 1, "3.3", "ZTF26a", None, None, {})


def held(*outcomes: list[Alert | BadAlert]) -> Night:
    made = Night()
    for offset, outcome in enumerate(outcomes):
        made.add(("t", 0, offset), 1000 + offset, outcome)
    return made


def test_an_audit_puts_every_alert_under_one_heading_and_names_the_missing() -> None:
    bad = BadAlert(Reason.CORRUPT, "why")
    night = held([alert(1), bad], [alert(1)], [alert(2)], [alert(3)], [bad], [alert(4)])
    told = NightCounts(dead={("t", 0, 0, 1): "corrupt_container"})
    told.published.update({(1, "m"): 2, (99, "m"): 1})
    told.elsewhere.add(3)
    found = account(night, told, {("t", 0): 5})
    assert (found["held"], found["classified"], found["repeated"], found["waiting"]) == (7, 2, 1, 1)
    assert found["dead_lettered"] == {"corrupt_container": 1}
    assert [(one["offset"], one["candid"]) for one in found["missing"]] == [(2, 2), (4, None)]
    assert found["unknown"] == [99]
    assert found["published"] == {"m": {"records": 3, "repeats": 1}}


@pytest.mark.integration
@pytest.mark.parametrize(
    "output", [{}, {"output__record_format": "alerce", "output__avro_encoding": "schemaless"}], ids=str
)
def test_a_night_is_audited_and_an_alert_committed_without_an_output_is_found(
    output: dict[str, str], broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    topics, group, summary = new_topics(broker), unique("g"), tmp_path / "audit.json"
    sent = [*payloads(night(objects=3, visits=2)), Packet(candid=1000).payload(), b"of no kind"]
    produce(broker, topics["topic"], sent)
    env = consuming(checkpoint_folder, broker, store_url, topics, group, **output)
    assert estampa_here(env, "consume", "--exit-at-end").returncode == 0
    done = estampa_here(env, "audit", "--summary", str(summary))
    assert done.returncode == 0, done.stderr
    found = json.loads(summary.read_text())
    assert (found["held"], found["classified"], found["repeated"], found["missing"]) == (8, 6, 1, [])
    assert found["dead_lettered"] == {"not_an_avro_container": 1}

    produce(broker, topics["topic"], [Packet(candid=4711).payload(), Packet(candid=4712).payload()])
    commit(broker, group, topics["topic"], 9)
    done = estampa_here(env, "audit", "--summary", str(summary))
    assert done.returncode == 1
    assert "1 alerts are missing" in done.stderr.splitlines()[-1]
    found = json.loads(summary.read_text())
    assert [one["candid"] for one in found["missing"]] == [4711]
    assert found["waiting"] == 1


def commit(broker: str, group: str, topic: str, offset: int) -> None:
    """Commit over the head of the group: the fault that an audit is for."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


@pytest.mark.integration
def test_a_message_is_passed_by_as_the_runbook_says_and_the_audit_names_it(
    broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    """The committed offset and the store's note of it both moved behind the message."""
    topics, group, summary = new_topics(broker), unique("g"), tmp_path / "audit.json"
    env = consuming(checkpoint_folder, broker, store_url, topics, group)
    produce(broker, topics["topic"], payloads(night(objects=3, visits=1)))
    assert estampa_here(env, "consume", "--exit-at-end").returncode == 0
    produce(broker, topics["topic"], payloads(night(objects=3, visits=1, first_candid=5000)))
    commit(broker, group, topics["topic"], 4)
    redis.Redis.from_url(store_url).hset(f"applied:{group}:{topics['topic']}", "0", "4")
    done = estampa_here(env, "consume", "--exit-at-end")
    assert (done.returncode, "store_behind" in done.stderr) == (0, False)
    assert estampa_here(env, "audit", "--summary", str(summary)).returncode == 1
    found = json.loads(summary.read_text())
    assert (found["classified"], [one["candid"] for one in found["missing"]]) == (5, [5000])


@pytest.mark.integration
def test_times_in_another_unit_are_unknown_and_break_neither_records_nor_latency_nor_audit(
    broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    topics, group, summary = new_topics(broker), unique("g"), tmp_path / "audit.json"
    now = time.time_ns() // 1_000_000
    sent = {1: now * 1000, 2: now * 1_000_000, 3: now // 1000, 4: -5_000, 5: 31_556_889_864_403_200, 6: now - 60_000}
    for candid, stamped in sent.items():
        produce(broker, topics["topic"], [Packet(candid=candid).payload()], timestamp=stamped)
    env = consuming(checkpoint_folder, broker, store_url, topics, group)
    done = estampa_here(env, "consume", "--exit-at-end", "--summary", str(summary))
    assert (done.returncode, done.stderr.count("kafka_time_unusable")) == (0, 1), done.stderr
    assert 0 <= json.loads(summary.read_text())["latency_ms"]["p99"] < 3_600_000

    times = {one["candid"]: one["kafka_time"] for one in classifications(read_topic(broker, topics["output"]))}
    assert times.pop(6).timestamp() == pytest.approx((now - 60_000) / 1000)
    assert times == dict.fromkeys(range(1, 6))
    assert estampa_here(env, "audit", "--summary", str(summary)).returncode == 0
    found = json.loads(summary.read_text())
    assert (found["held"], found["classified"], found["missing"]) == (6, 6, [])


@pytest.mark.integration
def test_an_audit_reads_a_record_whose_time_no_calendar_has(
    broker: str, store_url: str, checkpoint_folder: Path
) -> None:
    """As records were published of messages stamped in microseconds."""
    topics, group = new_topics(broker), unique("g")
    produce(broker, topics["topic"], [Packet(candid=1).payload()])
    env = consuming(checkpoint_folder, broker, store_url, topics, group)
    commit(broker, group, topics["topic"], 1)
    record = made(1, topic=topics["topic"], kafka_time=1_700_000_000_000_000)
    produce(broker, topics["output"], [Encoder(OutputSettings()).encode(record)])
    done = estampa_here(env, "audit")
    assert done.returncode == 0, done.stderr


def test_the_outputs_of_a_night_with_an_unknown_time_are_read_from_the_first() -> None:
    night = Night()
    for offset, time_ms in enumerate((1_700_000_000_000, None, 1_600_000_000_000)):
        night.add(("t", 0, offset), time_ms, [])
    assert night.first_ms == 0


@pytest.mark.integration
def test_an_audit_by_a_group_that_read_nothing_says_so(broker: str, store_url: str, checkpoint_folder: Path) -> None:
    topics = new_topics(broker)
    produce(broker, topics["topic"], [b"x"])
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"))
    done = estampa_here(env, "audit")
    assert done.returncode == 1
    assert "check kafka.group" in done.stderr.splitlines()[-1]


def examined(env: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    done = estampa_here(env, "doctor", "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, {one["subject"]: one for one in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("free_mib", "elsewhere", "in_scratch"),
    [(1024, "ok", "ok"), (400, "warn", "ok"), (10, "warn", "warn")],
)
def test_a_doctor_asks_of_a_disk_what_is_written_there(
    free_mib: int, elsewhere: str, in_scratch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 MiB are too few for a night's results, and plenty for the service: its container's /tmp has 512 MiB."""
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    out.mkdir()
    free = free_mib * 2**20
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.chdir(out)
    assert [one.state for one in doctor._disk()] == [elsewhere, in_scratch]
    monkeypatch.chdir(scratch)
    assert [one.state for one in doctor._disk()] == [in_scratch]


def test_a_doctor_takes_a_slow_answer_for_no_fault_of_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(doctor, "time", SimpleNamespace(time=lambda: now[0]))

    def slow(apart: float) -> tuple[int, int]:
        told = now[0] + apart
        now[0] += 60
        return int(told), 0

    for apart, state in ((0.0, "ok"), (61.0, "ok"), (70.0, "fail"), (-10.0, "fail")):
        assert doctor._clock(lambda apart=apart: slow(apart)).state == state


def test_a_doctor_shows_brackets_of_what_it_found_and_what_to_do() -> None:
    """A section's name in brackets is no markup."""
    guarded = doctor._guarded("store", lambda: raising("it failed"))
    found = [*guarded, doctor.Finding("broker", "warn", "topic [red] is empty", "see [kafka.librdkafka]")]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(doctor.findings_table(found))
    shown = console.export_text()
    assert "check the settings under [store]" in shown
    assert "topic [red] is empty" in shown
    assert "see [kafka.librdkafka]" in shown
    assert "what to do" in shown


def raising(message: str) -> Iterator[doctor.Finding]:
    raise EstampaError(message)
    yield


@pytest.mark.parametrize(("subject", "section"), [("broker", "kafka"), ("device", "model"), ("state", "store")])
def test_a_doctor_names_the_section_of_the_settings(subject: str, section: str) -> None:
    assert doctor._guarded(subject, lambda: raising("it failed"))[0].mend == f"check the settings under [{section}]"


@pytest.mark.integration
def test_a_doctor_finds_all_well(broker: str, checkpoint_folder: Path, tmp_path: Path) -> None:
    topics = new_topics(broker)
    produce(broker, topics["topic"], payloads(night(objects=2, visits=1)))
    server = start_store(tmp_path, keep=True, options=("--maxmemory", "100mb"))
    try:
        env = consuming(checkpoint_folder, broker, f"redis://{server.address}", topics, unique("g"))
        assert estampa_here(env, "consume", "--exit-at-end").returncode == 0
        status, found = examined(env)
        assert status == 0
        subjects = {"model", "device", "disk", "broker", "topics", "group", "store", "store memory", "clock", "state"}
        assert subjects <= set(found)
        assert {one["state"] for name, one in found.items() if name != "disk"} == {"ok"}
        store = redis.Redis.from_url(f"redis://{server.address}")
        store.delete(*store.scan_iter("latent:*"))
        status, found = examined(env)
        assert (status, found["state"]["state"]) == (0, "warn")
        store.flushall()
        status, found = examined(env)
        assert (status, found["state"]["state"]) == (0, "warn")
        assert "replay --state-only" in found["state"]["mend"]
    finally:
        server.stop()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("change", "subject", "said"),
    [
        ({"ESTAMPA__MODEL__CHECKPOINT": "nosuch"}, "model", "no checkpoint"),
        ({"ESTAMPA__MODEL__DEVICE": "cuda:7"}, "device", "cuda:7"),
        ({"ESTAMPA__KAFKA__BROKERS": "127.0.0.1:1"}, "broker", "does not answer"),
        ({"ESTAMPA__OUTPUT__TOPIC": "nosuch"}, "output.topic", "nosuch does not exist"),
        ({"ESTAMPA__STORE__URL": "redis://127.0.0.1:1"}, "store", "does not answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_doctor_names_what_is_wrong_and_the_mend(
    change: dict[str, str], subject: str, said: str, broker: str, store_url: str, checkpoint_folder: Path
) -> None:
    env = consuming(checkpoint_folder, broker, store_url, new_topics(broker), unique("g")) | change
    status, found = examined(env)
    assert status == 1
    assert found[subject]["state"] == "fail"
    assert said in found[subject]["found"]
    assert found[subject]["mend"]
    assert [name for name, one in found.items() if one["state"] == "fail"] == [subject]
