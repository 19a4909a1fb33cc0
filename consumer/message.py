"""What flows in: messages, and batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes and where they came from.

    topic, partition, offset: the place in Kafka; for an archive, its file name, 0 and the place in it, from 0.
    timestamp_ms: Kafka's time, milliseconds since 1970, None in an archive. payload: None for a tombstone.
    """

    payload: bytes | None
    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in the order they were read. An empty batch is a moment when nothing came."""

    messages: Sequence[Message]

    def next_offsets(self) -> dict[Partition, int]:
        """For each partition, the offset after the last message of the batch: what to commit."""
        return {(message.topic, message.partition): message.offset + 1 for message in self.messages}
