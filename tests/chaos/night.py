"""A night for fault injection: many objects, late and repeated alerts, corrupt packets. The same for the same seed."""

import random
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.support.packets import Packet, blob, packed

VISITS = 8
POOL = 40
LATE, REPEATED, CORRUPT = 0.05, 0.03, 0.01


@dataclass(frozen=True)
class Sent:
    """One message of the night. packet: None where its bytes are no alert."""

    payload: bytes
    partition: int
    packet: Packet | None


def simulated_night(alerts: int, seed: int, partitions: int) -> list[Sent]:
    """About `alerts` messages in the order they are sent. All alerts of an object go to one partition."""
    chance = random.Random(seed)
    stamps = [_stamps(number) for number in range(POOL)]
    packets = [
        Packet(
            candid=10_000 + number,
            object_id=f"ZTF26{number % max(alerts // VISITS, 1):07d}",
            jd=2461000.5 + number * 30 / alerts,
            fid=1 + number % 2,
            stamps=stamps[chance.randrange(POOL)],
        )
        for number in range(alerts)
    ]
    sent = [Sent(packet.payload(), _partition(packet, partitions), packet) for packet in _shuffled(packets, chance)]
    for number in range(int(CORRUPT * alerts)):
        bad = _corrupt(packets[chance.randrange(alerts)].payload(), number)
        sent.insert(chance.randrange(len(sent)), Sent(bad, chance.randrange(partitions), None))
    return sent


def by_partition(night: Sequence[Sent]) -> dict[int, list[Sent]]:
    """Each partition's messages: the place in the list is the offset."""
    found: dict[int, list[Sent]] = defaultdict(list)
    for one in night:
        found[one.partition].append(one)
    return dict(found)


def _stamps(number: int) -> dict[str, bytes | None]:
    """Whole counts, so that they pack well: a night must fit in the broker's memory."""
    drawn = {name: np.round(blob(3 * number + place) / 4) for place, name in enumerate(("science", "template"))}
    return {name: packed(image) for name, image in (drawn | {"difference": np.round(blob(number + 999) / 4)}).items()}


def _partition(packet: Packet, partitions: int) -> int:
    return zlib.crc32(packet.object_id.encode()) % partitions


def _shuffled(packets: Sequence[Packet], chance: random.Random) -> list[Packet]:
    """Some come late, by up to a third of the night, and some come again."""
    keyed = [(place, packet) for place, packet in enumerate(packets)]
    span = len(packets) / 3
    late = [(place + span * chance.random(), packet) for place, packet in keyed if chance.random() < LATE]
    again = [(place + span * chance.random(), packet) for place, packet in keyed if chance.random() < REPEATED]
    gone = {packet.candid for _, packet in late}
    on_time = [(place, packet) for place, packet in keyed if packet.candid not in gone]
    return [packet for _, packet in sorted(on_time + late + again, key=lambda one: one[0])]


def _corrupt(payload: bytes, number: int) -> bytes:
    kinds = (payload[: len(payload) // 2], payload[:-40], b"of no kind", b"")
    return kinds[number % len(kinds)]
