"""The topics of the night: literal names in a bounded window.

A pattern would match every night the broker still keeps, and those would starve tonight's.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from consumer.configuration.settings import KafkaSettings


def topics_of_the_night(now: datetime, programids: Sequence[int], days_back: int, days_ahead: int) -> list[str]:
    """`ztf_YYYYMMDD_programidN` from `days_back` before to `days_ahead` after the UTC date of `now`, an aware time."""
    days = (now.astimezone(UTC) + timedelta(days=day) for day in range(-days_back, days_ahead + 1))
    return [f"ztf_{day:%Y%m%d}_programid{program}" for day in days for program in programids]


def wanted_topics(settings: KafkaSettings, now: datetime) -> list[str]:
    """The topics given by name, or else those of the night."""
    if settings.topics:
        return sorted(settings.topics)
    return topics_of_the_night(now, settings.programids, settings.days_back, settings.days_ahead)
