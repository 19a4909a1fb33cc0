from consumer.decode_stage import SINGLE, Shard
from consumer.decoding.alert import read_alerts
from consumer.message import Message
from tests.support.packets import Packet, night

MAX = 10**7
SHARES = [Shard(index, 3) for index in range(3)]


def takers(payload: bytes, offset: int) -> list[int]:
    """Which of three shares take a packet's record."""
    [outcome] = read_alerts(payload, MAX)
    message = Message(payload, "night", 0, offset)
    assert SINGLE.has(message, outcome)
    return [share.index for share in SHARES if share.has(message, outcome)]


def test_every_alert_has_one_taker_and_an_object_has_the_same_one_always() -> None:
    packets = night(objects=40, visits=3)
    taken = [(packet.object_id, takers(packet.payload(), offset)) for offset, packet in enumerate(packets)]
    assert all(len(found) == 1 for _, found in taken)
    of_object = {object_id: {index for one, [index] in taken if one == object_id} for object_id, _ in taken}
    assert all(len(indices) == 1 for indices in of_object.values())
    counts = [sum(index == share for [index] in (found for _, found in taken)) for share in range(3)]
    assert min(counts) > len(taken) / 6


def test_what_cannot_be_read_is_shared_out_by_its_place() -> None:
    assert [takers(b"no packet", offset) for offset in range(6)] == [[0], [1], [2], [0], [1], [2]]


def test_alerts_of_a_known_asteroid_go_together_though_each_has_its_own_object() -> None:
    seen = [Packet(object_id=f"ZTF18aaa{one}", ssnamenr="4179", ssdistnr=0.5) for one in range(9)]
    assert len({tuple(takers(packet.payload(), offset)) for offset, packet in enumerate(seen)}) == 1
