"""What flows in: messages, and batches of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes and where they came from.

    topic, partition, offset: the place in Kafka; for an archive, its file name, 0 and the place in it, from 0.
    timestamp_ms: Kafka's time, milliseconds since 1970; None in an archive, and for a time before 2000 or to come.
    payload: None for a tombstone.
    """

    payload: bytes | None
    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in the order they were read. An empty batch is a moment when nothing came.

    offsets: partition → the offset after its last message here: what to commit. Empty for an archive.
    """

    messages: Sequence[Message]
    offsets: Mapping[Partition, int] = field(default_factory=dict)

    @classmethod
    def from_topics(cls, messages: Sequence[Message]) -> Self:
        """A batch that knows what to commit."""
        return cls(messages, {(message.topic, message.partition): message.offset + 1 for message in messages})
