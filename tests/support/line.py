"""The line under test, from outside: topics filled and read back, archives written, commands run."""

import io
import os
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fastavro
import pytest
import redis
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from consumer.__main__ import main
from consumer.embedded import create_topics
from tests.support.packets import Packet

SESSION_MS = 2_000


def unique(name: str) -> str:
    """A name that no other test uses: broker and store are shared."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def new_topics(broker: str, partitions: int = 1) -> dict[str, str]:
    """A night's topic and its outputs, as settings for `environment`."""
    names = {"topic": unique("night"), "output": unique("classifications"), "dead": unique("deadletters")}
    create_topics(broker, {names["topic"]: partitions, names["output"]: 1, names["dead"]: 1})
    return names


def produce(broker: str, topic: str, payloads: Iterable[bytes | None], *, each: bool = False, **where: Any) -> None:
    """Send payloads; `each` in a batch of its own, after which the embedded broker's end offsets are right."""
    producer = Producer({"bootstrap.servers": broker, "log.connection.close": False})
    for payload in payloads:
        producer.produce(topic, payload, **where)
        producer.poll(0)
        if each:
            producer.flush(10)
    assert producer.flush(20) == 0


def read_topic(broker: str, topic: str) -> list[Message]:
    """Every message of a topic, in order of partition and offset."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "reader", "enable.partition.eof": True})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found, ended, deadline = [], 0, time.monotonic() + 30
    while ended < len(partitions):
        assert time.monotonic() < deadline, f"{topic} was not read to its end"
        for message in consumer.consume(500, 0.1):
            if message.error() is None:
                found.append(message)
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF
                ended += 1
    consumer.close()
    return sorted(found, key=lambda one: (one.partition(), one.offset()))


def classifications(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [record for one in messages for record in fastavro.reader(io.BytesIO(one.value()))]


def last_by_candid(records: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """What a reader keeps: the last record of each candid."""
    return {record["candid"]: record for record in records}


def answer(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """The part of a record that says what the alert is, without where and when it was read."""
    scores = record["alert_probabilities"], record["sequence_probabilities"]
    flat = tuple(tuple(sorted((dict(one) if not isinstance(one, Mapping) else one).items())) for one in scores)
    return (*flat, record["objectId"], record["history_length"], record["history_truncated"], tuple(record["flags"]))


def state(url: str) -> dict[bytes, dict[bytes, bytes]]:
    """All sequences in a store."""
    client = redis.Redis.from_url(url)
    found = {key: client.hgetall(key) for key in client.scan_iter("latent:*:f[24]:*", count=1000)}
    client.close()
    return found


def write_tar(path: Path, payloads: Sequence[bytes]) -> Path:
    """An archive laid out as ZTF's."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for number, payload in enumerate(payloads):
            member = tarfile.TarInfo(f"{number:06d}.avro")
            member.size = len(payload)
            tar.addfile(member, io.BytesIO(payload))
    return path


def payloads(packets: Iterable[Packet]) -> list[bytes]:
    return [packet.payload() for packet in packets]


def environment(checkpoint: Path, **settings: str) -> dict[str, str]:
    """The environment of a command: `kafka__brokers="…"` sets kafka.brokers."""
    given = {f"ESTAMPA__{name.upper()}": value for name, value in settings.items()}
    ours = {"ESTAMPA__MODEL__CHECKPOINT": str(checkpoint), "ESTAMPA__MODEL__THREADS": "1"}
    ours |= {"ESTAMPA__KAFKA__SESSION_TIMEOUT_MS": str(SESSION_MS), "ESTAMPA__MONITOR__ENABLED": "false"}
    return dict(os.environ) | ours | given


def consuming(
    checkpoint: Path, broker: str, store: str, topics: Mapping[str, str], group: str, **more: str
) -> dict[str, str]:
    """The environment of a consumer of `topics`."""
    return environment(
        checkpoint,
        kafka__brokers=broker,
        kafka__group=group,
        kafka__topics=f'["{topics["topic"]}"]',
        output__topic=topics["output"],
        output__dead_letter_topic=topics["dead"],
        store__url=store,
        **more,
    )


def start(
    env: Mapping[str, str], *words: str, module: str = "consumer", cwd: Path | None = None
) -> subprocess.Popen[str]:
    """Start `estampa WORDS…`."""
    command = [sys.executable, "-m", module, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=dict(env), text=True, cwd=cwd, **pipes)


def start_held(env: Mapping[str, str], batches: int, *words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start `estampa WORDS…` that waits to be told to stop after so many batches."""
    return start({**env, "HOLD_AFTER": str(batches)}, *words, module="tests.support.held", cwd=cwd)


def estampa(env: Mapping[str, str], *words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run `estampa WORDS…` to its end."""
    command = [sys.executable, "-m", "consumer", *words]
    return subprocess.run(command, env=dict(env), text=True, capture_output=True, timeout=timeout, check=False)


def estampa_here(env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run `estampa WORDS…` in this process, for facts that need none of their own: one takes seconds to load torch."""
    said, told = io.StringIO(), io.StringIO()
    in_place = patch.dict(os.environ, env, clear=True), patch.object(sys, "argv", ["estampa", *words])
    with in_place[0], in_place[1], redirect_stdout(said), redirect_stderr(told), pytest.raises(SystemExit) as ended:
        main()
    structlog.reset_defaults()
    return subprocess.CompletedProcess(words, int(ended.value.code or 0), said.getvalue(), told.getvalue())


def wait_until(condition: Any, seconds: float = 60.0, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds:g} s"
        time.sleep(0.05)
