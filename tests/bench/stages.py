"""One-core benchmark: packet → normalised stamps, ours, the brokers' way, and the floor that inflating sets."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
from isal import isal_zlib

from consumer.alert import READER, read_alerts
from consumer.stamps import cut_stamps
from model_zoo.preprocess import Preprocessing, encoder_input
from tests.bench.reference import model_input

LIMIT = 2**24
ROUNDS = 5


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ours(packets: Sequence[bytes], preprocessing: Preprocessing) -> None:
    alerts = [next(iter(read_alerts(packet, LIMIT))) for packet in packets]
    encoder_input(np.stack([cut_stamps(alert, preprocessing, LIMIT).pixels for alert in alerts]), preprocessing)


def inflate_only(stamps: Sequence[Sequence[bytes]]) -> None:
    for three in stamps:
        for packed in three:
            isal_zlib.decompressobj(wbits=31).decompress(packed, max_length=LIMIT)


def decode_rows(packets: Sequence[bytes], preprocessing: Preprocessing) -> list[dict[str, object]]:
    """Ratios, each taken pair by pair in `ROUNDS` rounds, and their medians."""
    usual = packets[:: max(len(packets) // 100, 1)]
    stamps = [fields[10:13] for packet in packets for fields in READER.read(packet)]
    ours(packets, preprocessing)
    ratios, floors, speeds = [], [], []
    for _ in range(ROUNDS):
        mine = seconds(lambda: ours(packets, preprocessing)) / len(packets)
        theirs = seconds(lambda: [model_input(packet, preprocessing) for packet in usual]) / len(usual)
        floor = seconds(lambda: inflate_only(stamps)) / len(packets)
        ratios.append(theirs / mine)
        floors.append(mine / floor)
        speeds.append(1 / mine)
    return [
        {"what": "decode + stamps + normalise, one core", "unit": "alerts/s", "value": median(speeds)},
        {"what": "… over the brokers' way", "unit": "×", "value": median(ratios), "target": "≥ 14"},
        {"what": "… over inflating alone", "unit": "×", "value": median(floors), "target": "≤ 1.4"},
    ]
