import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.configuration.load import load_settings
from consumer.configuration.settings import KafkaSettings
from consumer.errors import ConfigError
from consumer.kafka.client import subscribed_topics, topics_of_the_night

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_window_is_literal_names_from_yesterday_to_tomorrow() -> None:
    assert topics_of_the_night(NOON, (1,), 1, 1) == [
        "ztf_20260228_programid1",
        "ztf_20260301_programid1",
        "ztf_20260302_programid1",
    ]


def test_only_the_programs_admitted_are_named() -> None:
    assert topics_of_the_night(NOON, (1, 3), 0, 0) == ["ztf_20260301_programid1", "ztf_20260301_programid3"]
    assert all(name.endswith("programid1") for name in subscribed_topics(KafkaSettings(), NOON))


def test_the_window_rolls_at_midnight_utc() -> None:
    before, after = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert topics_of_the_night(before, (1,), 0, 0) == ["ztf_20261231_programid1"]
    assert topics_of_the_night(after, (1,), 0, 0) == ["ztf_20270101_programid1"]


@pytest.mark.parametrize("hours", [-12, -4, 0, 14])
def test_the_clocks_zone_does_not_matter(hours: int) -> None:
    local = datetime(2026, 3, 1, 3, tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    assert topics_of_the_night(local, (1,), 0, 0) == ["ztf_20260301_programid1"]


def test_the_time_of_day_does_not_cut_the_night() -> None:
    """The whole of a day's topic is wanted, early and late."""
    early, late = datetime(2026, 3, 1, 0, 1, tzinfo=UTC), datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
    assert topics_of_the_night(early, (1,), 1, 1) == topics_of_the_night(late, (1,), 1, 1)


@given(st.datetimes(datetime(2018, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)), st.integers(0, 7))
def test_the_window_is_bounded_whatever_the_broker_keeps(now: datetime, back: int) -> None:
    names = topics_of_the_night(now, (1, 2, 3), back, 2)
    assert len(set(names)) == len(names) == 3 * (back + 3)


def test_a_topic_or_a_program_given_twice_counts_once() -> None:
    kafka = load_settings(None, {"kafka": {"topics": ["b", "a", "b"], "programids": [2, 1, 2, 1]}}).kafka
    assert (kafka.topics, kafka.programids) == (("b", "a"), (2, 1))
    assert subscribed_topics(kafka, NOON) == ["a", "b"]
    assert len(set(topics_of_the_night(NOON, kafka.programids, 0, 0))) == 2


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ztf_2026*", "^ztf_.*", "é", ".", "..", "a\n", "x" * 250])
@pytest.mark.parametrize("key", ["kafka.topics", "output.topic", "output.dead_letter_topic"])
def test_a_name_that_no_topic_can_have_is_refused_with_its_key(key: str, name: str) -> None:
    section, _, field = key.partition(".")
    given = ["good", name] if field == "topics" else name
    said = f"no topic can be called {re.escape(repr(name))}" if name else "is empty; give a value"
    with pytest.raises(ConfigError, match=rf"^{key}.*{said}"):
        load_settings(None, {section: {field: given}})


def test_the_longest_name_and_every_letter_that_kafka_takes_are_taken() -> None:
    names = ["x" * 249, "Az09._-", "...", "ztf_20260101_programid1"]
    assert load_settings(None, {"kafka": {"topics": names}}).kafka.topics == tuple(names)


def test_topics_given_by_name_are_taken_as_they_are() -> None:
    assert subscribed_topics(KafkaSettings(topics=("b", "a")), NOON) == ["a", "b"]
