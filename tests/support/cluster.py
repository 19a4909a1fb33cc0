"""A Cluster of the embedded store on this machine: three primaries, with replicas where they are asked for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from consumer.embedded import Server, free_port, start_store
from tests.support.line import state, wait_until

SLOTS = 16_384
PRIMARIES = 3
TIMEOUT_MS = 10_000
TAKE_OVER_MS = 1_000
"""A node silent for so long is lost to the others: soon, where it has a replica that is to take over."""


@dataclass
class Node:
    """One server of a Cluster. folder: its files; bus: the port it speaks to the others on. timeout_ms: theirs."""

    folder: Path
    bus: int
    timeout_ms: int
    server: Server

    @classmethod
    def start(cls, folder: Path, bus: int, timeout_ms: int, port: int | None = None) -> "Node":
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout_ms)]
        options += ["--cluster-port", str(bus)]  # by default the port plus 10,000: there may be none
        options += ["--cluster-replica-validity-factor", "0"]
        return cls(folder, bus, timeout_ms, start_store(folder, keep=True, port=port, options=options))

    @property
    def port(self) -> int:
        return int(self.server.address.split(":")[1])

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def log(self) -> Path:
        """Its append-only file."""
        [found] = (self.folder / "appendonlydir").glob("*.incr.aof")
        return found

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait()

    def restart(self, *, keep: bool) -> None:
        """Start it again in its place, with what its log holds, or with nothing."""
        if not keep:
            for file in (self.folder / "appendonlydir").iterdir():
                file.unlink()
        self.server = Node.start(self.folder, self.bus, self.timeout_ms, self.port).server


@dataclass
class Cluster:
    """primaries: each holds a third of the slots, as started. replicas: as many, or none."""

    primaries: list[Node]
    replicas: list[Node]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.primaries[0].port}"

    def whole(self) -> bool:
        """Whether all that live agree that every slot has a server."""
        living = [node for node in self.primaries + self.replicas if node.server.process.poll() is None]
        return all(node.client.cluster("INFO")["cluster_state"] == "ok" for node in living)

    def state(self) -> dict[bytes, dict[bytes, bytes]]:
        """All sequences, of whoever serves them now."""
        living = [node for node in self.primaries + self.replicas if node.server.process.poll() is None]
        serving = [node for node in living if node.client.info("replication")["role"] == "master"]
        return {key: fields for node in serving for key, fields in state(f"redis://{node.server.address}").items()}


@contextmanager
def cluster(folder: Path, *, replicas: bool = False) -> Iterator[Cluster]:
    """Start one, and end it whatever happens."""
    nodes: list[Node] = []
    try:
        count, timeout_ms = (2 * PRIMARIES, TAKE_OVER_MS) if replicas else (PRIMARIES, TIMEOUT_MS)
        nodes.extend(Node.start(folder / str(number), free_port(), timeout_ms) for number in range(count))
        made = Cluster(nodes[:PRIMARIES], nodes[PRIMARIES:])
        for number, node in enumerate(made.primaries):
            first, last = SLOTS * number // PRIMARIES, SLOTS * (number + 1) // PRIMARIES - 1
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for node in nodes[1:]:
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, nodes[0].bus)
        wait_until(lambda: all(len(node.client.cluster("NODES")) == len(nodes) for node in nodes), 20, "the meeting")
        for primary, replica in zip(made.primaries, made.replicas, strict=False):
            wait_until(lambda one=primary, other=replica: _follows(one, other), 20, "a replica")
        wait_until(made.whole, 20, "the Cluster")
        yield made
    finally:
        for node in nodes:
            node.server.stop()


def _follows(primary: Node, replica: Node) -> bool:
    try:
        replica.client.execute_command("CLUSTER", "REPLICATE", primary.client.cluster("MYID").decode())
    except redis.ResponseError:  # it has not heard of that primary yet
        return False
    deadline = time.monotonic() + 10
    while replica.client.info("replication").get("master_link_status") != "up":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return True
