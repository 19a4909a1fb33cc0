import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from consumer.configuration.settings import MonitorSettings
from consumer.errors import ConfigError
from consumer.monitoring.health import Heartbeat, Monitor


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ready() -> dict[str, bool]:
    return {"kafka": True, "store": True}


@pytest.fixture
def monitor(clock: Clock, ready: dict[str, bool]) -> Iterator[Monitor]:
    checks = {"kafka": lambda: ready["kafka"], "store": lambda: ready["store"]}
    monitor = Monitor(MonitorSettings(port=0), Heartbeat(60.0, clock), checks)
    yield monitor
    monitor.close()


def get(monitor: Monitor, path: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor.port}{path}", timeout=60) as reply:
            return reply.status, reply.headers["Content-Type"], reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_a_heartbeat_stops_when_it_does_not_beat(clock: Clock) -> None:
    heartbeat = Heartbeat(60.0, clock)
    clock.now = 59.9
    assert heartbeat.alive()
    clock.now = 60.0
    assert not heartbeat.alive()
    heartbeat.beat()
    assert heartbeat.alive()


def test_a_loop_that_moves_is_healthy_and_one_that_is_wedged_is_not(monitor: Monitor, clock: Clock) -> None:
    assert get(monitor, "/healthz")[0] == 200
    clock.now = 61.0
    status, _, body = get(monitor, "/healthz")
    assert (status, body) == (503, "the loop has not moved\n")


def test_readiness_names_what_is_not_ready(monitor: Monitor, ready: dict[str, bool]) -> None:
    assert get(monitor, "/readyz") == (200, "text/plain", "ready")
    ready["store"] = False
    assert get(monitor, "/readyz") == (503, "text/plain", "not ready: store")
    ready["kafka"] = False
    assert get(monitor, "/readyz")[2] == "not ready: kafka, store"


def test_metrics_are_served_in_prometheus_text(monitor: Monitor) -> None:
    status, kind, body = get(monitor, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=")
    assert "# TYPE python_info gauge" in body


def test_another_path_says_which_there_are(monitor: Monitor) -> None:
    assert get(monitor, "/")[0] == 404
    assert "/healthz" in get(monitor, "/nothing")[2]


def test_a_port_that_is_taken_is_one_clear_line(monitor: Monitor) -> None:
    with pytest.raises(ConfigError, match=f"monitor cannot listen on 127.0.0.1:{monitor.port}: .*; set monitor.port"):
        Monitor(MonitorSettings(port=monitor.port), Heartbeat(1.0), {})
