"""Each fault, as something done to a ground while a night goes through it."""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos.ground import CLEAN_S, PATIENCE_S, Ground, Member
from tests.chaos.mortal import STAGES
from tests.line import wait_until

Deed = Callable[[Ground, random.Random], None]


@dataclass(frozen=True)
class Scenario:
    """settings: of every member. durable: the broker must outlive a kill. share: of the alerts of the run."""

    deed: Deed
    settings: Mapping[str, str] = field(default_factory=dict)
    durable: bool = False
    share: float = 1.0

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


def killed_again_and_again(ground: Ground, chance: random.Random) -> None:
    """Until little of the night is left, by stages drawn at random."""
    while ground.committed() < 0.9 * len(ground.night):
        stage = chance.choice(list(STAGES))
        kill_at(ground, stage, _calls(stage, chance))
    ground.join()
    ground.recover()


def _calls(stage: str, chance: random.Random) -> int:
    if stage.endswith("assign"):
        return 1
    return chance.randrange(5, 60) if "publishing" in stage else chance.randrange(1, 5)


def broker_frozen(ground: Ground, chance: random.Random) -> None:
    _begun(ground)
    for _ in range(2):
        with ground.frozen(ground.broker.process):
            time.sleep(chance.uniform(1, 12))
        ground.strike()
        ground.recover()


def broker_killed(ground: Ground, chance: random.Random) -> None:
    _begun(ground)
    time.sleep(chance.uniform(0, 1))
    ground.restart_broker()
    ground.strike()
    ground.recover()


def store_frozen(ground: Ground, chance: random.Random) -> None:
    """Once for less than a command may take, once for more."""
    _begun(ground)
    for seconds in (chance.uniform(1, 5), 12):
        with ground.frozen(ground.store.process):
            time.sleep(seconds)
        ground.strike()
        ground.recover()


def store_killed_and_back_from_its_log(ground: Ground, chance: random.Random) -> None:
    _begun(ground)
    ground.restart_store(keep=True)
    ground.strike()
    ground.recover()


def store_back_from_a_log_that_lost_its_end(ground: Ground, chance: random.Random) -> None:
    """Its append-only file ends in the middle of a command, some time before the kill."""
    _begun(ground)
    [log] = (ground.folder / "store" / "appendonlydir").glob("*.incr.aof")
    size = log.stat().st_size
    time.sleep(0.5)
    ground.kill_store()
    os.truncate(log, chance.randrange(size // 2, size))
    ground.restart_store(keep=True)
    ground.strike()
    ground.recover()


def store_back_empty(ground: Ground, chance: random.Random) -> None:
    _begun(ground)
    ground.restart_store(keep=False)
    ground.strike()
    ground.recover()


def store_full(ground: Ground, chance: random.Random) -> None:
    _begun(ground)
    with_refusal(ground, lambda: ground.redis().config_set("maxmemory", 1))
    ground.redis().config_set("maxmemory", 0)
    ground.recover()


def store_read_only(ground: Ground, chance: random.Random) -> None:
    _begun(ground)
    with_refusal(ground, lambda: ground.redis().replicaof("127.0.0.1", 1))
    ground.redis().replicaof("NO", "ONE")
    ground.recover()


def with_refusal(ground: Ground, refuse: Callable[[], object]) -> None:
    """A store that takes no writes ends the process within the time allowed, with one clear line."""
    [member], started = ground.members, time.monotonic()
    refuse()
    ground.strike()
    assert ended(member, ground), "drained before the store refused: the night is too short"
    assert time.monotonic() - started < CLEAN_S
    ground.tend()
    assert "store" in ground.exits[-1], ground.exits


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
        Scenario(broker_frozen),
        Scenario(broker_killed, durable=True, share=0.5),
        Scenario(store_frozen),
        Scenario(store_killed_and_back_from_its_log),
        Scenario(store_back_from_a_log_that_lost_its_end),
        Scenario(store_back_empty),
        Scenario(store_full),
        Scenario(store_read_only),
        Scenario(members_join_and_leave),
        Scenario(member_frozen_past_its_session),
        Scenario(static_member_killed_and_back, {"kafka__librdkafka": '{"group.instance.id": "one"}'}),
        Scenario(slow_network_and_lost_connections),
        Scenario(dead_letters_that_cannot_be_written),
    )
}
