"""One consumer of a group, and two: how much faster a backlog is drained by more processes of this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from consumer.configuration.settings import Settings
from consumer.embedded import create_topics
from tests.bench.night import looped
from tests.bench.whole import Row, send
from tests.support.line import read_topic

ALERTS = 8_000
MIDDLE = (10, 90)
"""Percentiles of the records between which the pace is taken: joining and leaving are no part of it."""


def members_rows(settings: Settings, packets: Sequence[bytes]) -> list[Row]:
    alone, both = (drain_rate(settings, packets, members) for members in (1, 2))
    return [
        {"what": "a backlog in two partitions, one process", "unit": "alerts/s", "value": alone},
        {"what": "… two processes of one group, over one", "unit": "×", "value": both / alone},
    ]


def drain_rate(settings: Settings, packets: Sequence[bytes], members: int) -> float:
    """Alerts a second in the middle of a backlog, by the times at which their records were published."""
    name = f"members-{time.monotonic_ns()}"
    output = f"{name}-out"
    create_topics(settings.kafka.brokers, {name: 2, output: 1, f"{name}-dead": 1})
    send(settings.kafka.brokers, name, list(looped(packets, ALERTS, seed=members)))
    env = dict(os.environ) | {
        "ESTAMPA__KAFKA__BROKERS": settings.kafka.brokers,
        "ESTAMPA__KAFKA__TOPICS": f'["{name}"]',
        "ESTAMPA__KAFKA__GROUP": name,
        "ESTAMPA__KAFKA__SESSION_TIMEOUT_MS": str(settings.kafka.session_timeout_ms),
        "ESTAMPA__OUTPUT__TOPIC": output,
        "ESTAMPA__OUTPUT__DEAD_LETTER_TOPIC": f"{name}-dead",
        "ESTAMPA__STORE__URL": settings.store.url.get_secret_value(),
        "ESTAMPA__MODEL__THREADS": str(max((os.cpu_count() or 1) // members, 1)),
        "ESTAMPA__MONITOR__ENABLED": "false",
        "ESTAMPA__LOG__LEVEL": "error",
    }
    command = [sys.executable, "-m", "consumer", "consume", "--exit-at-end"]
    running = [subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) for _ in range(members)]
    assert [process.wait() for process in running] == [0] * members
    times = np.array([message.timestamp()[1] for message in read_topic(settings.kafka.brokers, output)])
    assert len(times) >= ALERTS
    first, last = np.percentile(times, MIDDLE)
    return float(len(times) * (MIDDLE[1] - MIDDLE[0]) / 100 / ((last - first) / 1000))
