"""The loop between its in-memory twins, and alerts for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from consumer.configuration.settings import Settings
from consumer.errors import Reason
from consumer.inference.models import Inference
from consumer.monitoring.health import Heartbeat
from consumer.monitoring.report import RunReport
from consumer.pipeline import Pipeline
from consumer.results import Classification
from tests.conftest import random_checkpoint
from tests.support.packets import Packet, night
from tests.support.twins import Data, MemorySink, MemorySource, MemoryStore, batches_of

INFERENCE = Inference(random_checkpoint(), torch.device("cpu"))
Payloads = Sequence[bytes | None]


@dataclass
class Line:
    """The loop between its twins. data and sink may be handed on to a second line, as after a restart."""

    data: Data = field(default_factory=Data)
    sink: MemorySink = field(default_factory=MemorySink)
    settings: Settings = field(default_factory=Settings)
    source: MemorySource = field(default_factory=lambda: MemorySource([]))
    events: list[str] = field(default_factory=list)
    inference: Inference = INFERENCE

    def __post_init__(self) -> None:
        self.source.events = self.sink.events = self.events
        store = MemoryStore(42, data=self.data, events=self.events)
        heartbeat = Heartbeat(60.0)
        self.pipeline = Pipeline(self.settings, self.source, self.inference, store, self.sink, heartbeat)

    def run(self, payloads: Payloads, size: int = 512) -> RunReport:
        self.source.given = batches_of(payloads, size)
        return self.pipeline.run()

    def reasons(self) -> list[Reason]:
        return [letter.reason for letter in self.sink.dead_letters]

    def candids(self) -> list[int]:
        return [made.candid for made in self.sink.classifications]


def payloads_of(packets: Sequence[Packet]) -> list[bytes]:
    return [packet.payload() for packet in packets]


def timeless(made: Classification) -> Classification:
    return replace(made, classified_time=0)


NIGHT = payloads_of(night(objects=4, visits=5))
GOOD = [Packet(candid=candid).payload() for candid in (1, 2, 3)]
