"""Made values of the types that pass through the loop, for tests of what comes after it."""

from typing import Any

import numpy as np

from consumer.deadletters.dead_letter import DeadLetter
from consumer.errors import Reason
from consumer.message import Message
from consumer.results import Classification, Results
from model_zoo.classes import CLASSES


def made(candid: int = 1, best: str = "SN", **changes: Any) -> Classification:
    """A classification whose most probable class is `best`."""
    scores = np.full(len(CLASSES), 0.125, np.float32)
    scores[CLASSES.index(best)] = 0.5
    values: dict[str, Any] = {
        "objectId": "ZTF26aaaaaaa",
        "candid": candid,
        "jd": 2461000.123456789,
        "fid": 2,
        "programid": 1,
        "schema_version": "4.02",
        "sequence_key": "ZTF26aaaaaaa",
        "alert_probabilities": dict(zip(CLASSES, scores.tolist(), strict=True)),
        "sequence_probabilities": dict(zip(CLASSES, scores.tolist(), strict=True)),
        "history_length": 3,
        "history_truncated": False,
        "model_id": "0123456789abcdef",
        "encoder_id": "fedcba9876543210",
        "model_name": "random-0",
        "estampa_version": "0.1.0",
        "flags": ("padded", "late"),
        "nan_fraction": 0.25,
        "topic": "ztf_20260101_programid1",
        "partition": 3,
        "offset": 41,
        "kafka_time": 1_700_000_000_000,
        "classified_time": 1_700_000_000_250,
        "class_": best,
        "probability": 0.5,
        "probabilities": dict(zip(CLASSES, scores.tolist(), strict=True)),
        "ra": 150.25,
        "dec": -12.5,
        "magnitude": 18.5,
        "magnitude_error": 0.125,
        "band": "r",
        "observed_time": 1_764_846_666_667,
        "difference_sign": -1,
    }
    return Classification(**(values | changes))


def dead(reason: Reason = Reason.CORRUPT, payload: bytes | None = b"\x00\xff", offset: int = 7) -> DeadLetter:
    message = Message(payload, "ztf_20260101_programid1", 3, offset, 1_700_000_000_000)
    return DeadLetter(message, 2, reason, "what was wrong", 1_700_000_000_500)


def results(
    *classifications: Classification, dead_letters: tuple[DeadLetter, ...] = (), duplicates: int = 0
) -> Results:
    read = len(classifications) + len(dead_letters) + duplicates
    return Results(read, read, duplicates, classifications, dead_letters)
