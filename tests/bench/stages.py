"""One-core benchmark: packet → normalised stamps, ours, the brokers' way, and the floor that inflating sets."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
import torch
from isal import isal_zlib

from consumer.decoding.alert import READER, read_alerts
from consumer.decoding.stamps import cut_stamps
from consumer.inference.batching import CPU_SHAPES
from consumer.inference.models import Inference
from model_zoo.preprocess import Preprocessing, encoder_input
from tests.bench.reference import model_input

LIMIT = 2**24
BATCH = 512
CHUNK = CPU_SHAPES[0][0]
ROUNDS = 5


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ours(packets: Sequence[bytes], preprocessing: Preprocessing) -> None:
    """As the line does it: a batch at a time, scaled in the encoder's chunks."""
    for start in range(0, len(packets), BATCH):
        alerts = [next(iter(read_alerts(packet, LIMIT))) for packet in packets[start : start + BATCH]]
        cuts = [cut_stamps(alert, preprocessing, LIMIT).pixels for alert in alerts]
        for chunk in range(0, len(cuts), CHUNK):
            encoder_input(np.stack(cuts[chunk : chunk + CHUNK]), preprocessing)


def inflate_only(stamps: Sequence[Sequence[bytes]]) -> None:
    for three in stamps:
        for packed in three:
            isal_zlib.decompressobj(wbits=31).decompress(packed, max_length=LIMIT)


@torch.inference_mode()
def encoder_row(inference: Inference, passes: int = 40) -> dict[str, object]:
    """The encoder alone, from images in memory to latents in memory, in its largest shape."""
    rows, size = inference.shapes[0], inference.checkpoint.preprocessing.size
    images = torch.randn(rows, len(inference.checkpoint.preprocessing.channels), size, size).numpy()

    def work() -> None:
        for _ in range(passes):
            inference._encoder(images)

    work()
    rate = rows * passes / median(seconds(work) for _ in range(ROUNDS))
    target = "≥ 1,500,000" if inference.device.type == "cuda" else ""
    return {"what": f"encoder alone, on {inference.device.type}", "unit": "alerts/s", "value": rate, "target": target}


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
