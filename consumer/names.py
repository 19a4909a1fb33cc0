"""Names of Kafka's topics, and lists of which nothing is wanted twice."""

import re
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator

T = TypeVar("T")

LONGEST: Final = 249
TOPIC: Final = re.compile(r"[A-Za-z0-9._-]+")


def _topic_name(name: str) -> str:
    """The name, as Kafka takes it. Raises ValueError."""
    if not TOPIC.fullmatch(name) or len(name) > LONGEST or name in {".", ".."}:
        raise ValueError(f"no topic can be called {name!r}; give 1 to {LONGEST} letters, digits, '.', '_' and '-'")
    return name


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    """Without repeats, in their order: Kafka refuses a subscription that names a topic twice."""
    return tuple(dict.fromkeys(values))


TopicName = Annotated[str, AfterValidator(_topic_name)]
Topics = Annotated[tuple[TopicName, ...], AfterValidator(_each_once)]
Programs = Annotated[tuple[int, ...], AfterValidator(_each_once)]
