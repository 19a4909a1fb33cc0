"""What leaves the pipeline: classified alerts, and the results of a batch."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from consumer.deadletters.dead_letter import DeadLetter
from consumer.decode_stage import DecodedAlert
from consumer.store.sequences import SequencePrefix
from model_zoo.classes import BAND_NAMES

if TYPE_CHECKING:  # torch comes with it
    from model_zoo.checkpoint import Checkpoint

VERSION: Final = version("estampa")
JD_YEAR_1, JD_1970, MS_A_DAY = 1_721_425.5, 2_440_587.5, 86_400_000


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model of a run, as each of its records names it."""

    classes: tuple[str, ...]
    model_id: str
    encoder_id: str
    model_name: str

    @classmethod
    def of(cls, checkpoint: "Checkpoint") -> Self:
        return cls(checkpoint.classes, checkpoint.model_id, checkpoint.encoder_id, checkpoint.name)

    def probabilities(self, values: NDArray[np.float32]) -> dict[str, float]:
        """(classes,) → class name to probability."""
        return dict(zip(self.classes, values.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Classification:
    """`schemas/classification/1`, field for field: the docs are there. Times are milliseconds since 1970."""

    objectId: str  # noqa: N815 - the survey's own spelling, which readers join on
    candid: int
    jd: float
    fid: int
    programid: int
    schema_version: str
    sequence_key: str
    alert_probabilities: Mapping[str, float]
    sequence_probabilities: Mapping[str, float]
    history_length: int
    history_truncated: bool
    model_id: str
    encoder_id: str
    model_name: str
    estampa_version: str
    flags: Sequence[str]
    nan_fraction: float
    topic: str
    partition: int
    offset: int
    kafka_time: int | None
    classified_time: int
    class_: str
    probability: float
    probabilities: Mapping[str, float]
    ra: float | None
    dec: float | None
    magnitude: float | None
    magnitude_error: float | None
    band: str | None
    observed_time: int | None
    difference_sign: int | None

    def latency_ms(self, now_ms: int) -> int | None:
        """From the broker's time to `now_ms`, since 1970; None where that time is unknown, as in an archive.

        Never negative: another machine's clock may be ahead of ours.
        """
        return None if self.kafka_time is None else max(now_ms - self.kafka_time, 0)

    def record(self) -> dict[str, Any]:
        """As plain types, ready for Avro, Parquet or JSON."""
        return {name.rstrip("_"): getattr(self, name) for name in self.__slots__}

    def alerce_record(self) -> dict[str, Any]:
        """The view in ALeRCE's shape: `schemas/classification/1/alerce`."""
        scores = [{"class_name": name, "probability": value} for name, value in self.probabilities.items()]
        return {
            "objectId": self.objectId,
            "candid": self.candid,
            "classifications": scores,
            "classifier_name": f"estampa {self.model_name}",
            "classifier_version": self.model_id,
            "brokerPublishTimestamp": self.classified_time,
        }


def classification(
    model: ModelInfo,
    decoded: DecodedAlert,
    sequence: SequencePrefix,
    alert_probabilities: NDArray[np.float32],
    sequence_probabilities: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> Classification:
    """The record of one alert from the results of each stage. All three probabilities: (classes,)."""
    message, alert, stamps = decoded.message, decoded.alert, decoded.stamps
    best = int(probabilities.argmax())
    return Classification(
        objectId=alert.object_id,
        candid=alert.candid,
        jd=alert.jd,
        fid=alert.fid,
        programid=alert.programid,
        schema_version=alert.schema_version,
        sequence_key=alert.sequence_key,
        alert_probabilities=model.probabilities(alert_probabilities),
        sequence_probabilities=model.probabilities(sequence_probabilities),
        history_length=len(sequence),
        history_truncated=sequence.truncated,
        model_id=model.model_id,
        encoder_id=model.encoder_id,
        model_name=model.model_name,
        estampa_version=VERSION,
        flags=(*stamps.flags, "late") if sequence.late else stamps.flags,
        nan_fraction=stamps.nan_fraction,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        kafka_time=message.timestamp_ms,
        classified_time=time.time_ns() // 1_000_000,
        class_=model.classes[best],
        probability=float(probabilities[best]),
        probabilities=model.probabilities(probabilities),
        ra=alert.ra,
        dec=alert.dec,
        magnitude=alert.magnitude,
        magnitude_error=alert.magnitude_error,
        band=BAND_NAMES.get(alert.fid),
        observed_time=_unix_ms(alert.jd),
        difference_sign=alert.difference_sign,
    )


def _unix_ms(jd: float) -> int | None:
    """Milliseconds since 1970 of a Julian date; None before the year 1, which no calendar of a reader has."""
    return round((jd - JD_1970) * MS_A_DAY) if jd >= JD_YEAR_1 else None


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one batch of `messages` messages: of `read` alerts in them, `duplicates` were repeats."""

    messages: int
    read: int
    duplicates: int
    classifications: Sequence[Classification]
    dead_letters: Sequence[DeadLetter]
