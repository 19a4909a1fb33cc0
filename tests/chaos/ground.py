"""The ground that a fault is injected into: a broker, a store, a night in a topic, and members of a group."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from consumer.embedded import Server, create_topics, start_broker, start_store
from tests.chaos.night import Sent, by_partition
from tests.chaos.proxy import Proxy
from tests.support.cluster import Cluster
from tests.support.front import start_behind
from tests.support.line import consuming, read_topic, state, unique

PATIENCE_S = 180.0
CLEAN_S = 60.0
"""A process that cannot go on ends within this, by the issue's word."""


@dataclass
class Member:
    """One process of the group. log: what it wrote to stderr."""

    process: subprocess.Popen[bytes]
    log: Path
    frozen: bool = False

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def last_line(self) -> str:
        lines = self.log.read_text().splitlines()
        return lines[-1] if lines else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Ground:
    """Everything that a scenario needs. broker, store: servers of our own, reached through the proxies.

    cluster: what stands in for the store where it is a Cluster, reached directly. sent: how much of the night is in its
    topic: half of it until the first fault, so that none can come when all is done.
    """

    folder: Path
    env: dict[str, str]
    topics: dict[str, str]
    group: str
    night: Sequence[Sent]
    broker: Server
    store: Server
    to_broker: Proxy
    to_store: Proxy
    storage: str
    cluster: Cluster | None = None
    members: list[Member] = field(default_factory=list)
    sent: int = 0
    faults: int = 0
    struck_at: list[int] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)

    # Members

    def join(self, *command: str, **settings: str) -> Member:
        """Start `estampa consume`, or another command of Python's, with more settings."""
        words = command or ("-m", "consumer", "consume")
        log = self.folder / f"member-{len(list(self.folder.glob('member-*')))}.log"
        env = self.env | {f"ESTAMPA__{name.upper()}": value for name, value in settings.items()}
        with log.open("wb") as stderr:
            process = subprocess.Popen([sys.executable, *words], env=env, stderr=stderr, stdout=subprocess.DEVNULL)
        member = Member(process, log)
        self.members.append(member)
        return member

    def tend(self) -> None:
        """As a supervisor does: start anew whoever ended by itself, having seen that it said why in one line."""
        for member in [one for one in self.members if not one.alive]:
            self.members.remove(member)
            if member.process.returncode != -signal.SIGKILL:
                self.exits.append(member.last_line())
                assert member.process.returncode == 1, member.log.read_text()[-2000:]
                assert member.last_line().startswith("estampa: "), member.log.read_text()[-2000:]
            self.join()

    def leave(self) -> None:
        """Every member ends in order."""
        for member in self.members:
            member.process.send_signal(signal.SIGTERM)
        for member in self.members:
            member.process.wait(30)
        self.members.clear()

    # The night

    def send(self, until: int) -> None:
        """Send the night on, up to a number of messages."""
        producer = Producer({"bootstrap.servers": self.to_broker.address, "compression.type": "lz4", "log_level": 0})
        for one in self.night[self.sent : until]:
            producer.produce(self.topics["topic"], one.payload, partition=one.partition)
            producer.poll(0)
        assert producer.flush(120) == 0
        self.sent = until

    def committed(self) -> int:
        """Messages that the group has committed, of all partitions; 0 where the broker does not say."""
        partitions = [TopicPartition(self.topics["topic"], number) for number in by_partition(self.night)]
        consumer = Consumer({"bootstrap.servers": self.to_broker.address, "group.id": self.group, "log_level": 0})
        try:
            return sum(max(one.offset, 0) for one in consumer.committed(partitions, timeout=2))
        except KafkaException:
            return 0
        finally:
            consumer.close()

    def drained(self) -> bool:
        return self.committed() >= len(self.night)

    def drain(self) -> None:
        """Tend the members until all is committed, then have them leave."""
        deadline = time.monotonic() + PATIENCE_S + len(self.night) / 20
        while not self.drained():
            assert time.monotonic() < deadline, f"{self.committed()} of {len(self.night)} committed: {self.exits[-3:]}"
            self.tend()
            time.sleep(0.3)
        self.leave()

    def recover(self) -> None:
        """After a fault: tend the members until the group commits again; note how long it took."""
        before, started = self.committed(), time.monotonic()
        while (now := self.committed()) <= before and now < len(self.night):
            assert time.monotonic() < started + PATIENCE_S, f"no commit after the fault: {self.exits[-3:]}"
            self.tend()
            time.sleep(0.2)
        self.recovery_s.append(round(time.monotonic() - started, 1))

    def reach(self, share: float) -> None:
        """Tend the members until this share of the night is committed."""
        deadline = time.monotonic() + PATIENCE_S + len(self.night) / 20
        while self.committed() < share * len(self.night):
            assert time.monotonic() < deadline, f"{self.committed()} of {len(self.night)} committed"
            self.tend()
            time.sleep(0.2)

    def strike(self, faults: int = 1) -> None:
        """Note a fault, and how many messages were committed when it had struck. Then the rest of the night comes."""
        self.faults += faults
        self.struck_at.append(self.committed())
        self.send(len(self.night))

    def published(self, name: str) -> list[Message]:
        """Every message of an output topic: `output` or `dead`."""
        return read_topic(self.broker.address, self.topics[name])

    def state(self) -> dict[bytes, dict[bytes, bytes]]:
        """All sequences in the store."""
        return self.cluster.state() if self.cluster else state(f"redis://{self.store.address}")

    # Servers

    def restart_store(self, *, keep: bool) -> None:
        """Kill the store and start it again at its place; without `keep` it is empty."""
        port = int(self.store.address.split(":")[1])
        self.store.process.kill()
        self.store.process.wait()
        folder = self.folder / "store" if keep else self.folder / unique("store")
        self.store = start_store(folder, keep=keep, port=port)

    def kill_store(self) -> None:
        self.store.process.kill()
        self.store.process.wait()

    def restart_broker(self) -> None:
        """Kill the broker and start it again at its place, on what its storage kept."""
        port = int(self.broker.address.split(":")[1])
        self.broker.process.kill()
        self.broker.process.wait()
        self.broker = start_broker(port, self.storage, advertised=self.to_broker.address)

    @contextmanager
    def frozen(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(f"redis://{self.store.address}")


@contextmanager
def ground(
    folder: Path,
    checkpoint: Path,
    night: Sequence[Sent],
    storage: str = "memory://tansu/",
    cluster: Cluster | None = None,
    **settings: str,
) -> Iterator[Ground]:
    """Servers up, half of the night in its topic, nobody reading yet. Whatever happens, nothing is left running."""
    to_broker, to_store = Proxy(), Proxy()
    made: Ground | None = None
    broker = start_behind(to_broker, storage)
    store = start_store(folder / "store", keep=True)
    try:
        to_store.target = store.address
        topics = {"topic": unique("night"), "output": unique("classifications"), "dead": unique("deadletters")}
        partitions = len(by_partition(night))
        create_topics(broker.address, {topics["topic"]: partitions, topics["output"]: 1, topics["dead"]: 1})
        group, url = unique("chaos"), cluster.url if cluster else f"redis://{to_store.address}/0"
        quick = {"limits__dead_letter_ratio": "1", "batch__size": "32", "kafka__delivery_timeout_ms": "30000"}
        quick["store__cluster"] = "true" if cluster else "false"
        env = consuming(checkpoint, to_broker.address, url, topics, group, **(quick | settings))
        made = Ground(folder, env, topics, group, night, broker, store, to_broker, to_store, storage, cluster)
        made.send(len(night) // 2)
        yield made
    finally:
        for member in made.members if made else ():
            member.process.send_signal(signal.SIGCONT)
            member.kill()
        for server in (made.broker, made.store) if made else (broker, store):
            server.process.send_signal(signal.SIGCONT)
            server.stop()
        to_broker.close()
        to_store.close()
