"""Work that must not grow, counted rather than timed."""

from collections import Counter

import fastavro
import numpy as np
import pytest
import torch

from consumer import layout
from consumer.alert import READER, read_alerts
from consumer.history import History
from consumer.inference import CPU_ROWS, Inference
from consumer.packet import PacketReader
from consumer.projection import wanted_fields
from model_zoo.checkpoint import Checkpoint
from tests.packets import SCHEMA, Packet, night
from tests.packets import container as made


def forwards(inference: Inference) -> Counter[str]:
    """Counts the forward passes of each model from now on."""
    seen: Counter[str] = Counter()
    models = {"encoder": inference._encoder, "mlp": inference.checkpoint.mlp}
    for name, module in (models | {"recurrent": inference.checkpoint.recurrent}).items():
        module.register_forward_hook(lambda *_, name=name: seen.update([name]))
    return seen


def test_a_batch_is_one_pass_of_the_encoder_and_one_of_the_classifier(checkpoint: Checkpoint) -> None:
    inference = Inference(checkpoint, torch.device("cpu"))
    seen = forwards(inference)
    stamps = [np.random.default_rng(one).normal(size=(3, 21, 21)).astype(np.float32) for one in range(CPU_ROWS[-1])]
    latents, _ = inference.encode(stamps)
    histories = [
        History(latents[: 1 + row % 9], np.arange(1.0 + row % 9), np.ones(1 + row % 9, np.int64), False, False)
        for row in range(len(stamps))
    ]
    inference.classify(histories)
    assert seen == {"encoder": 1, "mlp": 1, "recurrent": 1}


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
    stamps = [random.normal(size=(3, 21, 21)).astype(np.float32) for _ in range(2 * CPU_ROWS[-1])]
    copied: list[int] = []
    stack, concatenate = np.stack, np.concatenate
    monkeypatch.setattr(np, "stack", lambda arrays: copied.append(sum(one.nbytes for one in arrays)) or stack(arrays))
    monkeypatch.setattr(np, "concatenate", lambda arrays: copied.append(len(arrays)) or concatenate(arrays))
    Inference(checkpoint, torch.device("cpu")).encode(stamps)
    assert copied == [CPU_ROWS[-1] * stamps[0].nbytes] * 2
