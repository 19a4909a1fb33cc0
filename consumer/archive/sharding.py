"""Several processes on one archive, each with whole objects of its own."""

from dataclasses import dataclass
from zlib import crc32

from consumer.decoding.alert import Alert
from consumer.errors import BadAlert
from consumer.message import Message


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `index` of `of`. Each process reads every packet and goes on with its own.

    An object's alerts stay together and in stream order, so that each is judged on what one process alone would have
    judged it on. What cannot be read has no object: it is shared out by its place.
    """

    index: int = 0
    of: int = 1

    def has(self, message: Message, outcome: Alert | BadAlert) -> bool:
        if self.of == 1:
            return True
        place = message.offset if isinstance(outcome, BadAlert) else crc32(outcome.sequence_key.encode())
        return place % self.of == self.index


SINGLE = Shard()
