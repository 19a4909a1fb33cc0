import contextlib
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from consumer.configuration.settings import MonitorSettings
from consumer.errors import ConfigError
from consumer.monitoring.health import CONNECTIONS, THREADS, Heartbeat, Monitor
from tests.support.line import wait_until


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


def threads() -> int:
    """Those that serve connections."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def half_open(monitor: Monitor, count: int, said: bytes = b"GET /healthz HTTP/1.1\r\n") -> list[socket.socket]:
    """Connections that begin a request and do not end it."""
    made = [socket.create_connection(("127.0.0.1", monitor.port), timeout=30) for _ in range(count)]
    for one in made:
        with contextlib.suppress(OSError):  # closed already for a newer one
            one.sendall(said)
    return made


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"])
def test_connections_that_say_nothing_or_do_not_listen_keep_no_probe_out_and_no_thread_each(
    monitor: Monitor, said: bytes
) -> None:
    silent = half_open(monitor, 400, said)
    assert get(monitor, "/healthz")[0] == 200
    wait_until(lambda: threads() <= CONNECTIONS, what="the end of the oldest connections")
    assert get(monitor, "/readyz")[0] == 200
    for one in silent:
        one.close()


def test_a_connection_that_trickles_is_closed_in_time(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.monitoring.health.CONNECTION_S", 0.5)
    [slow] = half_open(monitor, 1)

    def closed() -> bool:
        try:
            slow.sendall(b"a: b\r\n")  # a line now and then does not put off the end
        except OSError:
            return True
        return False

    with slow:
        wait_until(closed, what="the end of the connection")
    wait_until(lambda: threads() == 0, what="the end of its thread")
    assert get(monitor, "/healthz")[0] == 200


def test_questions_that_take_long_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.monitoring.health.THREAD_S", 0.01)
    asked, go_on = threading.Semaphore(0), threading.Event()

    def slow() -> bool:
        asked.release()
        return go_on.wait(60)

    monitor = Monitor(MonitorSettings(port=0), Heartbeat(60.0), {"store": slow})
    try:
        asking = half_open(monitor, 100, b"GET /readyz HTTP/1.1\r\n\r\n")
        for _ in range(THREADS):
            assert asked.acquire(timeout=60)
        with pytest.raises(OSError, match=r"closed|reset"):  # not one more
            get(monitor, "/readyz")
        assert threads() == THREADS
        go_on.set()
        wait_until(lambda: threads() == 0, what="the answers")
        assert get(monitor, "/readyz")[0] == 200
        for one in asking:
            one.close()
    finally:
        go_on.set()
        monitor.close()


@pytest.mark.parametrize(
    "said", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n", b"a" * 100_000]
)
def test_what_is_no_request_leaves_no_traceback(
    monitor: Monitor, said: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    for one in half_open(monitor, 3, said):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # gone without a word
        one.close()
    wait_until(lambda: threads() == 0, what="the end of the connections")
    assert get(monitor, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err
