"""Where it is recorded, durably, which dead letters were recovered."""

import os
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.configuration.settings import Settings
from consumer.deadletters.recovered import RECOVERED, Recovered, reaching, recovered_beside
from consumer.errors import BrokerError
from consumer.kafka.client import ASK_S, client_config, explain, make_client
from consumer.writable import check_files


class RecoveryFile:
    """The file beside a file of letters. Raises OutputError where it cannot be written."""

    def __init__(self, letters: Path) -> None:
        self._path = recovered_beside(letters)
        check_files({"what was recovered:": self._path}, overwrite=True)

    def add(self, recovered: Iterable[Recovered]) -> None:
        """Return when all are on the disk. A last line that a kill cut is ended first."""
        lines = "".join(f"{one.text()}\n" for one in recovered)
        with reaching(self._path), self._path.open("ab") as file:
            cut = file.tell() and not self._path.read_bytes().endswith(b"\n")
            file.write(b"\n" * bool(cut) + lines.encode())
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Nothing is open."""


class RecoveryTopic:
    """The dead-letter topic itself: a record of recovery is kept as long as the dead letters, under the same rights."""

    def __init__(self, settings: Settings) -> None:
        self._kafka, self._topic = settings.kafka, settings.output.dead_letter_topic
        self._failures: list[KafkaError] = []
        ours = {"enable.idempotence": True, "acks": "all", "delivery.timeout.ms": self._kafka.delivery_timeout_ms}
        self._producer = make_client(Producer, ours | client_config(settings.kafka))

    def add(self, recovered: Iterable[Recovered]) -> None:
        """Return when the broker has all of them. Raises BrokerError where it has not."""
        try:
            for one in recovered:
                self._producer.produce(
                    self._topic, headers=[(RECOVERED, one.text().encode())], on_delivery=self._on_delivery
                )
            left = self._producer.flush(self._kafka.delivery_timeout_ms / 1000 + ASK_S)
        except KafkaException as error:
            raise explain(error.args[0], self._kafka) from error
        if self._failures:
            raise explain(self._failures[0], self._kafka)
        if left:
            raise BrokerError(f"Kafka at {self._kafka.brokers} did not acknowledge {left} records of recovery")

    def close(self) -> None:
        """All was flushed: nothing is left to send."""

    def _on_delivery(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._failures.append(error)
