"""A TCP proxy on this machine whose network can be made slow, or lost."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

CHUNK = 64 * 1024


class Proxy:
    """Passes connections on to `target`, host:port. delay_s: added to every piece that goes through, either way.

    deaf_to: the key of Kafka's requests that are lost on their way, such as 11 for JoinGroup. deaf: how many were.
    mute: all answers are lost. muted: how many pieces of them were.
    """

    def __init__(self, target: str = "", port: int = 0) -> None:
        self.target = target
        self.delay_s = 0.0
        self.deaf_to: int | None = None
        self.deaf = 0
        self.mute = False
        self.muted = 0
        self.cuts = 0
        self._refusing = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Lose every connection that is open."""
        with self._lock:
            lost, self._open = self._open, set()
        self.cuts += len(lost)
        for one in lost:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Lose every connection, and let none through meanwhile."""
        self._refusing = True
        self.cut()
        yield
        self.admit()

    def admit(self) -> None:
        """Let connections through again."""
        self._refusing = False

    def close(self) -> None:
        self._refusing = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            far = None if self._refusing or not self.target else self._reach()
            if far is None:
                near.close()
                continue
            with self._lock:
                lost = self._refusing  # since we looked, and what was open was cut
                if not lost:
                    self._open |= {near, far}
            if lost:
                near.close()
                far.close()
                continue
            there = self._pump if self.deaf_to is None else self._pump_requests
            threading.Thread(target=there, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _reach(self) -> socket.socket | None:
        host, _, port = self.target.rpartition(":")
        try:
            reached = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            return None
        reached.settimeout(None)
        return reached

    def _pump_requests(self, source: socket.socket, sink: socket.socket) -> None:
        """Kafka's frames: a length of four bytes, then the request, whose key is its first two."""
        with contextlib.suppress(OSError), source.makefile("rb") as stream:
            while size := stream.read(4):
                request = stream.read(int.from_bytes(size, "big"))
                if int.from_bytes(request[:2], "big") == self.deaf_to:
                    self.deaf += 1
                else:
                    sink.sendall(size + request)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool = False) -> None:
        with contextlib.suppress(OSError):  # a cut ends both directions
            while data := source.recv(CHUNK):
                time.sleep(self.delay_s)
                if answers and self.mute:
                    self.muted += 1
                else:
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
