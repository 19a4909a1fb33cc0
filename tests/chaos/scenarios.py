"""Each fault, as something done to a ground while a night goes through it."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.ground import CLEAN_S, PATIENCE_S, Ground, Member
from tests.chaos.mortal import STAGES, TRANSACTION_STAGES
from tests.support.cluster import Cluster
from tests.support.line import wait_until

KILLS = 100
LONG = 10_000
"""A night of more alerts than these leaves time for the longest faults."""

Deed = Callable[[Ground, random.Random], None]


@dataclass(frozen=True)
class Scenario:
    """settings: of every member. durable: the broker outlives a kill. cluster: of stores; replicas: each with one."""

    deed: Deed
    settings: Mapping[str, str] = field(default_factory=dict)
    durable: bool = False
    cluster: bool = False
    replicas: bool = False

    @property
    def name(self) -> str:
        return self.deed.__name__


def ended(member: Member, ground: Ground) -> bool:
    """Wait until a member has ended, or all is committed."""
    deadline = time.monotonic() + PATIENCE_S
    while member.alive and not ground.drained():
        assert time.monotonic() < deadline, f"neither ended nor drained: {member.log.read_text()[-2000:]}"
        time.sleep(0.2)
    return not member.alive


def kill_at(ground: Ground, stage: str, calls: int) -> None:
    """One life that ends by SIGKILL at a stage."""
    member = ground.join("-m", "tests.chaos.mortal", stage, str(calls), "consume")
    if ended(member, ground):
        assert member.process.returncode == -signal.SIGKILL, member.log.read_text()[-2000:]
        ground.strike()
    else:
        member.kill()
    ground.members.remove(member)


def killed_at_every_stage(ground: Ground, chance: random.Random) -> None:
    for stage in STAGES:
        kill_at(ground, stage, _calls(stage, chance))
    ground.join()
    ground.recover()


def killed_at_every_stage_of_a_transaction(ground: Ground, chance: random.Random) -> None:
    """Results and offsets together. (The embedded broker shows what was aborted: it counts as repeated.)"""
    for stage in TRANSACTION_STAGES:
        kill_at(ground, stage, _calls(stage, chance))
    ground.join()
    ground.recover()


def killed_again_and_again(ground: Ground, chance: random.Random) -> None:
    """At stages drawn at random, until little of the night is left or the kills are many."""
    while ground.faults < KILLS and ground.committed() < 0.9 * len(ground.night):
        stage = chance.choice(list(STAGES))
        kill_at(ground, stage, _calls(stage, chance))
    ground.join()
    ground.recover()


def _calls(stage: str, chance: random.Random) -> int:
    if stage.endswith("assign"):
        return 1
    return chance.randrange(5, 60) if "middle" in stage else chance.randrange(1, 5)


def broker_frozen(ground: Ground, chance: random.Random) -> None:
    _frozen(ground, ground.broker.process, (chance.uniform(1, 12), _longest(ground)))


def store_frozen(ground: Ground, chance: random.Random) -> None:
    """Once for less than a command may take, once for more."""
    _frozen(ground, ground.store.process, (chance.uniform(1, 5), 12))


def _frozen(ground: Ground, server: subprocess.Popen[bytes], spells: Sequence[float]) -> None:
    _begun(ground)
    for seconds in spells:
        with ground.frozen(server):
            time.sleep(seconds)
        ground.strike()
        ground.recover()


def _longest(ground: Ground) -> float:
    """A minute, in a night that lasts longer."""
    return 60 if len(ground.night) > LONG else 12


def broker_killed(ground: Ground, chance: random.Random) -> None:
    _struck(ground, lambda: (time.sleep(chance.uniform(0, 1)), ground.restart_broker()))


def store_killed_and_back_from_its_log(ground: Ground, chance: random.Random) -> None:
    _struck(ground, lambda: ground.restart_store(keep=True))


def store_back_empty(ground: Ground, chance: random.Random) -> None:
    _struck(ground, lambda: ground.restart_store(keep=False))


def store_back_from_a_log_that_lost_its_end(ground: Ground, chance: random.Random) -> None:
    """Its append-only file ends in the middle of a command, some time before the kill."""

    def lose() -> None:
        [log] = (ground.folder / "store" / "appendonlydir").glob("*.incr.aof")
        size = log.stat().st_size
        time.sleep(0.5)
        ground.kill_store()
        os.truncate(log, chance.randrange(size // 2, size))
        ground.restart_store(keep=True)

    _struck(ground, lose)


def cluster_node_lost_and_back(ground: Ground, chance: random.Random) -> None:
    """Of three: one from a log that lost its end, then another empty. The rest keep what they hold."""
    cut, emptied = chance.sample(_cluster(ground).primaries, 2)
    _begun(ground)
    size = cut.log().stat().st_size
    time.sleep(0.5)
    cut.kill()
    os.truncate(cut.log(), chance.randrange(size // 2, size))
    ground.to_broker.delay_s = 0.1  # so that something is left for the second
    cut.restart(keep=True)
    ground.strike()
    ground.recover()
    emptied.kill()
    emptied.restart(keep=False)
    ground.to_broker.delay_s = 0
    ground.strike()
    ground.recover()


def cluster_node_lost_and_taken_over(ground: Ground, chance: random.Random) -> None:
    """Its replica is elected, with what it had heard until then."""
    _struck(ground, chance.choice(_cluster(ground).primaries[1:]).kill)


def _cluster(ground: Ground) -> Cluster:
    assert ground.cluster
    return ground.cluster


def _struck(ground: Ground, deed: Callable[[], object]) -> None:
    """One blow, a little way into the night."""
    _begun(ground)
    deed()
    ground.strike()
    ground.recover()


def store_full(ground: Ground, chance: random.Random) -> None:
    store = ground.redis()
    _refused(ground, lambda: store.config_set("maxmemory", 1), lambda: store.config_set("maxmemory", 0))


def store_read_only(ground: Ground, chance: random.Random) -> None:
    store = ground.redis()
    _refused(ground, lambda: store.replicaof("127.0.0.1", 1), lambda: store.replicaof("NO", "ONE"))


def _refused(ground: Ground, refuse: Callable[[], object], relent: Callable[[], object]) -> None:
    """A store that takes no writes ends the process within the time allowed, with one clear line."""
    _begun(ground)
    [member], started = ground.members, time.monotonic()
    refuse()
    ground.strike()
    assert ended(member, ground), "drained before the store refused: the night is too short"
    assert time.monotonic() - started < CLEAN_S
    ground.tend()
    assert "store" in ground.exits[-1], ground.exits
    relent()
    ground.recover()


def members_join_and_leave(ground: Ground, chance: random.Random) -> None:
    """1 → 3 → 1 under load, slowed so that it lasts until they have joined."""
    _begun(ground)
    ground.to_store.delay_s = 0.2
    newcomers = [ground.join(), ground.join()]
    for member in newcomers:
        wait_until(lambda one=member: "partitions_assigned" in one.log.read_text(), 60, "its share of the partitions")
    ground.strike(2)
    ground.to_store.delay_s = 0.0
    for member in newcomers:
        member.process.send_signal(signal.SIGTERM)
        member.process.wait(30)
        assert member.process.returncode == 0, member.log.read_text()[-2000:]
        ground.members.remove(member)
        ground.strike()
    ground.recover()


def member_frozen_past_its_session(ground: Ground, chance: random.Random) -> None:
    """Its partitions go to another; when it wakes with a batch in hand it rewinds no one."""
    _begun(ground)
    [sleeper] = ground.members
    with ground.frozen(sleeper.process):
        other = ground.join()
        wait_until(lambda: "partitions_assigned" in other.log.read_text(), 60, "the sleeper's partitions")
        ground.strike()
    ground.recover()
    assert not ground.exits, "it need not have ended: another has what it lost"


def static_member_killed_and_back(ground: Ground, chance: random.Random) -> None:
    """Of one group.instance.id: it comes back to its own partitions."""
    _begun(ground)
    for _ in range(2):
        [member] = ground.members
        member.kill()
        ground.strike()
        ground.tend()
        ground.recover()


def slow_network_and_lost_connections(ground: Ground, chance: random.Random) -> None:
    _begun(ground)
    for proxy in (ground.to_broker, ground.to_store):
        proxy.delay_s = 0.02
    for _ in range(4):
        for proxy in (ground.to_broker, ground.to_store):
            time.sleep(chance.uniform(0.2, 1))
            proxy.cut()
            ground.strike()
    for proxy in (ground.to_broker, ground.to_store):
        with proxy.away():
            time.sleep(3)
        proxy.delay_s = 0
        ground.strike()
    ground.recover()


def dead_letters_that_cannot_be_written(ground: Ground, chance: random.Random) -> None:
    """Too large for their topic: the process says so and ends, and commits nothing past the bad alert."""
    ground.send(len(ground.night))
    small = '{"message.max.bytes": 6000}'  # a classification fits, a packet does not
    member, started = ground.join(kafka__librdkafka=small), time.monotonic()
    assert ended(member, ground), "drained with no room for dead letters"
    assert time.monotonic() - started < CLEAN_S
    ground.strike()
    ground.tend()
    ground.recover()


def _begun(ground: Ground) -> None:
    """One member, a little way into the night."""
    ground.join()
    ground.reach(0.1)


SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        Scenario(killed_at_every_stage),
        Scenario(killed_again_and_again),
        Scenario(
            killed_at_every_stage_of_a_transaction,
            {"kafka__delivery": "exactly_once", "kafka__transactional_id": "the one member"},
        ),
        Scenario(broker_frozen),
        Scenario(broker_killed, durable=True),
        Scenario(store_frozen),
        Scenario(store_killed_and_back_from_its_log),
        Scenario(store_back_from_a_log_that_lost_its_end),
        Scenario(store_back_empty),
        Scenario(store_full),
        Scenario(store_read_only),
        Scenario(cluster_node_lost_and_back, cluster=True),
        Scenario(cluster_node_lost_and_taken_over, cluster=True, replicas=True),
        Scenario(members_join_and_leave),
        Scenario(member_frozen_past_its_session),
        Scenario(static_member_killed_and_back, {"kafka__librdkafka": '{"group.instance.id": "one"}'}),
        Scenario(slow_network_and_lost_connections),
        Scenario(dead_letters_that_cannot_be_written),
    )
}
