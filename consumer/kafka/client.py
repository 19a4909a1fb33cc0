"""How every Kafka client of estampa is configured, and what the broker's errors mean."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as KafkaMessage

from consumer.configuration.settings import KafkaSettings
from consumer.errors import BrokerError, ConfigError

Client = TypeVar("Client")

ASK_S: Final = 10.0
"""Longest time of a request to the broker, seconds."""

REASON_S: Final = 0.5
"""How long to wait, after a request failed, for librdkafka to report the reason, such as a refused password."""

FIRST_TIME_MS: Final = 946_684_800_000
"""2000-01-01. A time stamped in seconds reads as 1970, in microseconds as the year 56,000."""

AHEAD_MS: Final = 86_400_000
"""How far a producer's clock may be ahead of ours."""

FENCED_FIX: Final = "another process has our kafka.transactional_id: give each its own, and start again"

REFUSALS: Final = {
    KafkaError._AUTHENTICATION: "check kafka.username, kafka.password and kafka.mechanism",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check kafka.username, kafka.password and kafka.mechanism",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "ask for read access to the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "ask for the group, or set kafka.group to one that is yours",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "ask for the right to write",
    KafkaError._SSL: "check kafka.security and kafka.ca_file",
    KafkaError.MSG_SIZE_TOO_LARGE: "give the topic max.message.bytes above limits.packet_bytes: a dead letter is whole",
    KafkaError.FENCED_INSTANCE_ID: "another member has our group.instance.id: give each its own, and start again",
    KafkaError._FENCED: FENCED_FIX,
    KafkaError.PRODUCER_FENCED: FENCED_FIX,
    KafkaError.INVALID_PRODUCER_EPOCH: FENCED_FIX,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "ask for the right to write as kafka.transactional_id",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "set kafka.mechanism to one that the broker takes",
}
"""Errors that do not pass → what the user has to change."""

UNREACHABLE: Final = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT)


def client_config(settings: KafkaSettings) -> dict[str, Any]:
    """librdkafka's configuration of every client."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.brokers,
        "security.protocol": settings.security,
        "client.id": "estampa",
        "log_level": 2,  # what matters comes to the error callback too, and is logged from there
    }
    if settings.security.startswith("SASL"):
        password = settings.password.get_secret_value() if settings.password else ""
        credentials = {"sasl.username": settings.username or "", "sasl.password": password}
        config |= {"sasl.mechanism": settings.mechanism, **credentials}
    if settings.ca_file:
        config["ssl.ca.location"] = str(settings.ca_file)
    return config | settings.librdkafka


def make_client(kind: Callable[[dict[str, Any]], Client], config: dict[str, Any]) -> Client:
    """A Consumer or Producer. Raises ConfigError for what librdkafka does not know or cannot read."""
    try:
        return kind(config)
    except KafkaException as error:
        message = error.args[0].str()
        raise ConfigError(
            f"librdkafka refuses its configuration: {message}; check [kafka.librdkafka] and kafka.ca_file"
        ) from error


def explain(error: KafkaError, settings: KafkaSettings) -> BrokerError:
    """The error in one line, with what to change."""
    if fix := REFUSALS.get(error.code()):
        return BrokerError(f"Kafka at {settings.brokers} refuses this client: {error.str()}; {fix}")
    if error.code() in UNREACHABLE:
        return BrokerError(
            f"Kafka at {settings.brokers} does not answer: {error.str()}; is it up, is kafka.brokers right?"
        )
    return BrokerError(f"Kafka at {settings.brokers}: {error.str()} ({error.name()})")


def message_time_ms(received: KafkaMessage) -> int | None:
    """Kafka's time of a message, milliseconds since 1970, or None: no time, or not between 2000 and tomorrow.

    A producer that stamps in another unit sends times that no Avro reader and no clock can hold.
    """
    time_ms = int(received.timestamp()[1])
    return time_ms if FIRST_TIME_MS <= time_ms <= time.time_ns() // 1_000_000 + AHEAD_MS else None


def topics_of_the_night(now: datetime, programids: Sequence[int], days_back: int, days_ahead: int) -> list[str]:
    """`ztf_YYYYMMDD_programidN` from `days_back` before to `days_ahead` after the UTC date of `now`, an aware time.

    A pattern instead would match every night that the broker still keeps, and those would delay tonight's.
    """
    days = (now.astimezone(UTC) + timedelta(days=day) for day in range(-days_back, days_ahead + 1))
    return [f"ztf_{day:%Y%m%d}_programid{program}" for day in days for program in programids]


def subscribed_topics(settings: KafkaSettings, now: datetime) -> list[str]:
    """The topics given by name, or else those of the night."""
    if settings.topics:
        return sorted(settings.topics)
    return topics_of_the_night(now, settings.programids, settings.days_back, settings.days_ahead)
