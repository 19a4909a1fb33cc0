"""Faults seen elsewhere, for which no other test of ours stood guard; and that tests/PITFALLS.md tells the truth."""

import ast
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
import redis
import torch

from consumer.cli.runtime import load_inference
from consumer.configuration.load import load_settings
from consumer.configuration.settings import ModelSettings, StoreSettings
from consumer.embedded import create_topics
from consumer.errors import BrokerError
from consumer.kafka.source import KafkaSource
from consumer.message import Batch, Message
from consumer.store.redis_store import RedisStore
from consumer.store.sequences import NewEntries
from tests.chaos.proxy import Proxy
from tests.conftest import ROOT
from tests.support.front import start_behind
from tests.support.line import (
    SESSION_MS,
    classifications,
    consuming,
    estampa_here,
    new_topics,
    payloads,
    produce,
    read_topic,
    start,
    unique,
    wait_until,
)
from tests.support.packets import night

TABLE = ROOT / "tests" / "PITFALLS.md"
LINES, OURS = 18, 53
"""Lines of the list of faults seen elsewhere, and of the list of those found here."""


class MemoryLedger:
    """What the store would say of the group's places."""

    def __init__(self) -> None:
        self.offsets: dict[tuple[str, int], int] = {}

    def applied(self, partition: tuple[str, int]) -> int | None:
        return self.offsets.get(partition)

    def start(self) -> dict[tuple[str, int], int] | None:
        return {}

    def begin(self, offsets: dict[tuple[str, int], int]) -> None:
        raise AssertionError(f"the group has begun, and begins again at {offsets}")


@pytest.mark.integration
def test_a_commit_right_after_the_assignment_rewinds_no_one(broker: str) -> None:
    """librdkafka 2782: what is committed before anything was read must not be where the group began."""
    topic, ledger = unique("night"), MemoryLedger()
    kafka = {"brokers": broker, "group": unique("g"), "topics": (new_topic(broker, topic),)}
    settings = load_settings(None, {"kafka": {**kafka, "session_timeout_ms": SESSION_MS}})
    produce(broker, topic, [b"%d" % number for number in range(6)])
    assert read_with(KafkaSource(settings, ledger, exit_at_end=True), ledger) == 6

    second = KafkaSource(settings, ledger)
    turns = second.batches()
    wait_until(lambda: next(turns) is not None and second.ready, what="the assignment")
    second.commit(Batch(()))
    second.close()
    assert read_with(KafkaSource(settings, ledger, exit_at_end=True), ledger) == 0


def new_topic(broker: str, name: str) -> str:
    create_topics(broker, {name: 1})
    return name


def read_with(source: KafkaSource, ledger: MemoryLedger) -> int:
    """Messages read to the end, committed as the loop would."""
    read = 0
    for batch in source.batches():
        read += len(batch.messages)
        ledger.offsets |= batch.offsets
        if batch.messages:
            source.commit(batch)
    source.close()
    return read


@pytest.mark.integration
def test_a_group_that_never_answers_ends_the_run_and_a_member_without_a_part_waits_on(broker: str) -> None:
    """quix-streams 1082, seen here too: a member that was never given its partitions sat there as in a quiet night."""
    proxy = Proxy()
    server = start_behind(proxy)
    try:
        proxy.deaf_to = 11
        kafka = {"group": unique("g"), "session_timeout_ms": SESSION_MS, "broker_timeout_s": 4.0}
        kafka |= {"topics": (new_topic(server.address, unique("night")),), "brokers": proxy.address}
        source = KafkaSource(load_settings(None, {"kafka": kafka}), MemoryLedger())
        with pytest.raises(BrokerError, match="assigned none of its 1 partitions"):
            list(source.batches())
        source.close()
    finally:
        server.stop()
        proxy.close()

    kafka |= {"topics": (new_topic(broker, unique("night")),), "brokers": broker}
    members = [KafkaSource(load_settings(None, {"kafka": kafka}), MemoryLedger()) for _ in range(2)]
    turns = [member.batches() for member in members]
    until = time.monotonic() + 12
    while time.monotonic() < until:
        for one in turns:
            assert next(one) is not None
    wait_until(lambda: all(next(one) is not None for one in turns) and all(one.ready for one in members))
    for member in members:
        member.close()


def test_what_is_committed_follows_the_last_message_of_each_partition_whatever_gaps_there_are() -> None:
    """faust 312: transactions and compaction leave gaps, and counting messages then commits too little."""
    batch = Batch.from_topics([Message(b"", "t", part, offset) for part, offset in ((0, 3), (1, 40), (0, 9), (1, 41))])
    assert batch.offsets == {("t", 0): 10, ("t", 1): 42}


@pytest.mark.integration
def test_a_consumer_that_is_told_to_stop_has_committed_all_that_it_published(
    broker: str, store_url: str, checkpoint_folder: Path
) -> None:
    """quix-streams 638: a stop without a last commit has the next one read the batch again."""
    topics, group = new_topics(broker), unique("g")
    produce(broker, topics["topic"], payloads(night(objects=60, visits=10)))
    env = consuming(checkpoint_folder, broker, store_url, topics, group, batch__size="16")
    process = start(env, "consume")
    client = redis.Redis.from_url(store_url)
    wait_until(lambda: client.dbsize() > 20, what="the first batches")
    client.close()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert estampa_here(env, "consume", "--exit-at-end").returncode == 0
    told = Counter(record["candid"] for record in classifications(read_topic(broker, topics["output"])))
    assert len(told) == 600
    assert set(told.values()) == {1}


@pytest.mark.integration
def test_a_sequence_about_to_expire_lives_on_when_an_alert_comes(store_url: str) -> None:
    """quix-streams 1129: a sweep deleted the key that the same flush had refreshed."""
    store = RedisStore(StoreSettings.model_validate({"url": store_url}), "enc", 2)
    client = redis.Redis.from_url(store_url)
    store.remember(one_alert(1), {})
    [key] = client.keys("latent:*")
    client.expire(key, 60)  # far less than it is given anew, far more than any delay of ours
    [history] = store.remember(one_alert(2), {})
    assert len(history) == 2
    assert client.ttl(key) > 86_400
    store.close()
    client.close()


@pytest.mark.integration
def test_a_store_that_is_away_when_it_is_asked_is_asked_again(store_url: str) -> None:
    """boom 587: a blip of the store killed the worker."""
    proxy = Proxy(store_url.removeprefix("redis://").partition("/")[0])
    store = RedisStore(StoreSettings.model_validate({"url": f"redis://{proxy.address}", "timeout_s": 20}), "enc", 2)
    with ThreadPoolExecutor(1) as pool, proxy.away():
        asked = pool.submit(store.remember, one_alert(1), {})
        wait([asked], timeout=1)
        assert not asked.done()
        proxy.admit()
        assert len(asked.result(20)[0]) == 1
    store.close()
    proxy.close()


def one_alert(candid: int) -> NewEntries:
    ones = np.ones(1)
    return NewEntries(["a"], np.array([candid]), ones * candid, ones.astype(np.uint8), np.zeros((1, 2), np.float32))


def test_the_model_takes_as_many_threads_as_it_is_given(checkpoint_folder: Path) -> None:
    """Several processes that each take all cores ruin one another: 790 alerts/s became 232."""
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            load_inference(ModelSettings(checkpoint=str(checkpoint_folder), threads=threads))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def rows() -> list[tuple[str, str, str]]:
    """Line of either list, the fault, the tests named for it."""
    cells = [line.strip("| \n").split(" | ") for line in TABLE.read_text().splitlines() if re.match(r"\| F?\d", line)]
    return [(number, fault, tests) for number, fault, tests, *_ in cells]


def test_every_line_of_the_list_has_its_tests() -> None:
    ours = {f"F{number}" for number in range(1, OURS + 1)} - {"F39"}
    assert {number for number, _, _ in rows()} == {str(number) for number in range(1, LINES + 1)} | ours


@pytest.mark.parametrize(("number", "fault", "named"), rows())
def test_the_tests_that_the_table_names_exist(number: str, fault: str, named: str) -> None:
    tests = re.findall(r"`(?:(tests/\S+\.py)::)?(test_\w+|\w+)`", named)
    assert tests, f"{number}, {fault}: no test"
    path = ""
    for given, name in tests:
        path = given or path
        tree = ast.parse((ROOT / path).read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names, f"{path} has no {name}"
