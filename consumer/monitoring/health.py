"""`/metrics`, `/healthz` (the loop moved lately) and `/readyz` (it can classify now), over HTTP."""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from consumer.configuration.settings import MonitorSettings
from consumer.errors import ConfigError

log = structlog.get_logger()

CONNECTIONS: Final = 32
"""At once, each with its thread. Beyond them the oldest is closed: a probe asks as soon as it is connected."""
THREADS: Final = 2 * CONNECTIONS
"""One whose connection was closed may still be asking the store."""
THREAD_S: Final = 1.0
"""How long a new connection waits for one of them to end."""
CONNECTION_S: Final = 10.0
"""From the connection's begin to its end, however slowly its bytes come or go."""


class Heartbeat:
    """When the loop last moved. A wedged loop stops beating; an idle one does not."""

    def __init__(self, liveness_timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s, self._clock = liveness_timeout_s, clock
        self._last = clock()

    def beat(self) -> None:
        self._last = self._clock()

    def alive(self) -> bool:
        return self._clock() - self._last < self._timeout_s


class Monitor:
    """The HTTP server, in a thread of its own. checks: what readiness asks, by name."""

    def __init__(
        self, settings: MonitorSettings, heartbeat: Heartbeat, checks: Mapping[str, Callable[[], bool]]
    ) -> None:
        self._heartbeat, self._checks = heartbeat, checks
        handler = type("Handler", (_Handler,), {"monitor": self})
        try:
            self._server = _Server((settings.host, settings.port), handler)
        except OSError as error:
            place = f"{settings.host}:{settings.port}"
            raise ConfigError(f"monitor cannot listen on {place}: {error.strerror}; set monitor.port") from error
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True).start()
        log.info("monitor_listening", host=settings.host, port=self.port)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        if path == "/healthz":
            alive = self._heartbeat.alive()
            return (200 if alive else 503), "text/plain", b"alive\n" if alive else b"the loop has not moved\n"
        if path == "/readyz":
            failed = [name for name, check in self._checks.items() if not check()]
            return (
                (503 if failed else 200),
                "text/plain",
                ("not ready: " + ", ".join(failed) if failed else "ready").encode(),
            )
        return 404, "text/plain", b"there are /metrics, /healthz and /readyz\n"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Bounded in connections, and each of them in time: who connects and says nothing keeps no one out."""

    request_queue_size = 128

    def __init__(self, *words: Any) -> None:
        self._open: dict[socket.socket, float] = {}  # since when, oldest first
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(THREADS)
        super().__init__(*words)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            for oldest in list(self._open)[: len(self._open) - CONNECTIONS + 1]:
                self._cut(oldest)
            self._open[request] = time.monotonic()
        if self._slots.acquire(timeout=THREAD_S):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def service_actions(self) -> None:
        """Called twice a second, and after each connection."""
        with self._lock:
            for one, since in list(self._open.items()):
                if time.monotonic() - since > CONNECTION_S:
                    self._cut(one)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """A client that went, or was cut, is no news."""
        if not isinstance(sys.exception(), OSError):
            log.exception("monitor_failed", client=client_address[0])

    def _cut(self, connection: socket.socket) -> None:
        """Its thread finds it ended, and closes it."""
        del self._open[connection]
        with contextlib.suppress(OSError):  # it has ended by itself
            connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    monitor: Monitor

    def do_GET(self) -> None:
        status, kind, body = self.monitor.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes come every few seconds; they are no news."""
