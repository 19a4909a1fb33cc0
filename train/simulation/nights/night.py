"""A simulated night: plan it, draw it chunk by chunk on several processes, write packets and truth in order."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from train.files import atomic_write
from train.simulation.nights.batch import TRUTH_SCHEMA, Packet, build_packets, truth_table
from train.simulation.nights.fault import Emission, emission
from train.simulation.nights.plan import DEFAULT_MIX, NightPlan, plan_night
from train.simulation.nights.sink import PacketSink
from train.simulation.random import Columns, KeyedRandom
from train.simulation.workforce import ordered

CHUNK_ALERTS = 128
NIGHT_ZERO_ORDINAL = date(2017, 1, 1).toordinal()
Chunk = tuple[list[Packet], Columns]
Task = tuple[int, NightPlan, Emission, str]


@dataclass(frozen=True, slots=True)
class NightRequest:
    """What night to make. `mix` gives shares by class, `faults` rates by kind."""

    day: date
    alerts: int
    seed: int = 0
    version: str = "4.02"
    mix: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_MIX))
    faults: dict[str, float] = field(default_factory=dict)

    @property
    def night(self) -> int:
        """ZTF's number of the night."""
        return self.day.toordinal() - NIGHT_ZERO_ORDINAL

    @property
    def topic(self) -> str:
        """The topic that ZTF would send the night's public alerts to."""
        return f"ztf_{self.day:%Y%m%d}_programid1"


def _draw(task: Task) -> Chunk:
    return build_packets(*task)


def _tasks(request: NightRequest) -> Iterator[Task]:
    plan = plan_night(request.seed, request.night, request.alerts, request.mix)
    sent = emission(KeyedRandom(request.seed), plan, request.faults)
    for start in range(0, len(sent), CHUNK_ALERTS):
        part = sent.part(start, start + CHUNK_ALERTS)
        yield request.seed, plan.take(part.row), part, request.version


def night_chunks(request: NightRequest, processes: int = 1) -> Iterator[Chunk]:
    """The night's packets and truth columns, chunk by chunk in the order they leave: the same for any `processes`."""
    yield from ordered(_draw, _tasks(request), processes)


def write_night(
    request: NightRequest, sink: PacketSink, truth_path: Path, processes: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> int:  # fmt: skip
    """Write the night and its truth table; `progress` is told of every chunk's packets. Returns the packets written.

    Where anything fails, neither the night's files nor the truth keep their final names.
    """
    position = 0
    with ExitStack() as stack:
        partial = stack.enter_context(atomic_write(truth_path))
        rows_out = stack.enter_context(pq.ParquetWriter(partial, TRUTH_SCHEMA))
        stack.enter_context(sink)
        for packets, rows in night_chunks(request, processes):
            for packet in packets:
                sink.write(packet)
            rows["position"] = np.arange(position, position + len(packets))
            rows_out.write_table(truth_table(rows))
            position += len(packets)
            progress(len(packets))
    return position
