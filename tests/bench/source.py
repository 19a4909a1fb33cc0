"""A source for benchmarks: looped packets out of memory, so that no disk is measured."""

from collections.abc import Iterator
from itertools import islice

from consumer.message import Batch, Message


class LoopedSource:
    """Batches of the packets of an iterator, as an archive would give them."""

    def __init__(self, packets: Iterator[bytes], batch_size: int) -> None:
        self._packets, self._batch_size = packets, batch_size

    def batches(self) -> Iterator[Batch]:
        messages = (Message(packet, "bench", 0, offset) for offset, packet in enumerate(self._packets))
        while batch := tuple(islice(messages, self._batch_size)):
            yield Batch(batch)

    def commit(self, batch: Batch) -> None:
        """Nothing to tell."""

    def close(self) -> None:
        """Nothing to close."""
