"""`/metrics`, `/healthz` (the loop moved lately) and `/readyz` (it can classify now), over HTTP."""

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from consumer.configuration.settings import MonitorSettings
from consumer.errors import ConfigError

log = structlog.get_logger()


class Heartbeat:
    """When the loop last moved. A wedged loop stops beating; an idle one does not."""

    def __init__(self, stalled_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stalled_s, self._clock = stalled_s, clock
        self._last = clock()

    def beat(self) -> None:
        self._last = self._clock()

    def alive(self) -> bool:
        return self._clock() - self._last < self._stalled_s


class Monitor:
    """The HTTP server, in a thread of its own. checks: what readiness asks, by name."""

    def __init__(
        self, settings: MonitorSettings, heartbeat: Heartbeat, checks: Mapping[str, Callable[[], bool]]
    ) -> None:
        self._heartbeat, self._checks = heartbeat, checks
        handler = type("Handler", (_Handler,), {"monitor": self})
        try:
            self._server = ThreadingHTTPServer((settings.host, settings.port), handler)
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
