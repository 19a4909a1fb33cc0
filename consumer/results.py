"""What became of one batch."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumer.classification import Classification
from consumer.deadletters.dead_letter import DeadLetter


@dataclass(frozen=True, slots=True)
class Results:
    """A batch after the models. messages: how many it had. read: alerts in them. duplicates: repeats among those."""

    messages: int
    read: int
    duplicates: int
    classifications: Sequence[Classification]
    dead_letters: Sequence[DeadLetter]
