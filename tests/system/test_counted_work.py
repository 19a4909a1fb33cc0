"""Work that must not grow, counted rather than timed."""

from collections import Counter

import fastavro
import numpy as np
import pytest
import torch

from consumer.decoding import layout
from consumer.decoding.alert import READER, read_alerts
from consumer.decoding.packet import PacketReader
from consumer.decoding.projection import wanted_fields
from consumer.inference.batching import CPU_SHAPES
from consumer.inference.models import Inference
from consumer.store.sequences import SequencePrefix
from model_zoo.checkpoint import Checkpoint
from tests.support.packets import SCHEMA, Packet, night
from tests.support.packets import container as made

LARGEST = CPU_SHAPES[0][0]


def count_passes(inference: Inference, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the passes of each model from now on."""
    seen: Counter[str] = Counter()
    for name in ("_encoder", "_alert_head", "_sequence_head"):
        model = getattr(inference, name)
        monkeypatch.setattr(inference, name, lambda *rows, n=name, model=model: seen.update([n]) or model(*rows))
    return seen


def test_a_batch_is_one_pass_of_the_encoder_and_one_of_each_head(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = Inference(checkpoint, torch.device("cpu"))
    seen = count_passes(inference, monkeypatch)
    stamps = [np.random.default_rng(one).normal(size=(3, 21, 21)).astype(np.float32) for one in range(LARGEST)]
    latents, _ = inference.encode(stamps)
    histories = [
        SequencePrefix(latents[: 1 + row % 9], np.arange(1.0 + row % 9), np.ones(1 + row % 9, np.int64), False, False)
        for row in range(len(stamps))
    ]
    inference.classify(histories)
    assert seen == {"_encoder": 1, "_alert_head": 1, "_sequence_head": 1}


def test_a_schema_is_parsed_once_however_many_packets_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted_fields(())  # our own schema, parsed once a process
    parsed: list[object] = []
    parse = fastavro.parse_schema
    monkeypatch.setattr(layout.fastavro, "parse_schema", lambda schema: parsed.append(schema) or parse(schema))
    other = fastavro.parse_schema({**SCHEMA, "version": "4.02", "doc": "another"})
    parsed.clear()
    reader = PacketReader()
    for packet in night(objects=20, visits=3):
        list(reader.read(packet.payload()))
        list(reader.read(made([packet], schema=other)))
        list(reader.read(made([packet, packet.at(candid=1)])))
    assert len(parsed) == 2 * 2  # writer and projection, of each of two schemas


def test_a_usual_packet_never_reaches_fastavro(monkeypatch: pytest.MonkeyPatch) -> None:
    list(read_alerts(Packet().payload(), 10**7))
    monkeypatch.setattr(layout.fastavro, "schemaless_reader", None)
    for packet in night(objects=5, visits=2):
        [alert] = read_alerts(packet.payload(), 10**7)
        assert alert.candid == packet.candid
    assert READER._known


def test_a_stamp_is_a_view_of_its_packet_until_it_is_inflated() -> None:
    payload = Packet().payload()
    [alert] = read_alerts(payload, 10**7)
    assert [getattr(stamp, "obj", None) for stamp in alert.cutouts.values()] == [payload] * 3


def test_cuts_are_copied_once_on_their_way_to_the_encoder(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the chunk that goes through; scaling and padding leave a full chunk where it is."""
    random = np.random.default_rng(0)
    stamps = [random.normal(size=(3, 21, 21)).astype(np.float32) for _ in range(2 * LARGEST)]
    inference = Inference(checkpoint, torch.device("cpu"))
    copied: list[int] = []
    stack, concatenate = np.stack, np.concatenate
    monkeypatch.setattr(np, "stack", lambda arrays: copied.append(sum(one.nbytes for one in arrays)) or stack(arrays))
    monkeypatch.setattr(np, "concatenate", lambda arrays: copied.append(len(arrays)) or concatenate(arrays))
    inference.encode(stamps)
    assert copied == [LARGEST * stamps[0].nbytes] * 2
