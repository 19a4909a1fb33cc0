"""The seams of the loop: where sources, stores and sinks plug in. Each has an in-memory twin in the tests."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from consumer.message import Batch, Partition
from consumer.results import Results
from consumer.store.sequences import NewEntries, SequencePrefix


class MessageSource(Protocol):
    """Where messages come from."""

    def batches(self) -> Iterator[Batch]:
        """Yield batches until the source ends; an empty one whenever nothing came for a while."""

    def commit(self, batch: Batch) -> None:
        """Note that all of `batch` is safe downstream and need never be read again."""

    def close(self) -> None:
        """Leave in order."""


class SequenceStore(Protocol):
    """Each object's sequence of latents."""

    def remember(self, entries: NewEntries, offsets: Mapping[Partition, int]) -> list[SequencePrefix]:
        """Add the entries, in stream order, and return what each is to be judged on, in the same order.

        `offsets` is kept with them: the state now holds all messages before these. Raises StoreError.
        """


class ResultSink(Protocol):
    """Where results go."""

    def publish(self, results: Results) -> None:
        """Return when a batch's classifications and dead letters need no second telling, or raise."""

    def close(self) -> None:
        """Finish what is open."""
