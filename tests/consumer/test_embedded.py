"""The broker and the store that come with the package."""

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from consumer.embedded import start_broker, start_store
from consumer.errors import EmbeddedError

pytestmark = pytest.mark.integration


def test_a_broker_that_cannot_start_says_why() -> None:
    with pytest.raises(EmbeddedError, match=r"did not start at 127\.0\.0\.1:\d+; its last line: .*nowhere"):
        start_broker(storage="nowhere://at-all/")


def test_a_store_whose_port_is_taken_says_why(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(EmbeddedError, match=r"its last line: .*Failed listening"),
    ):
        start_store(tmp_path, port=taken.getsockname()[1])


def test_a_start_that_is_interrupted_leaves_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def starting(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*words, **options))
        return started[0]

    def interrupted(_: redis.Redis) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", starting)
    monkeypatch.setattr(redis.Redis, "ping", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start_store(tmp_path)
    assert started[0].poll() is not None


def test_a_store_whose_predecessor_ends_at_this_moment_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It removes its pidfile last."""
    pidfile = tmp_path / "store.pid"
    pidfile.write_text("1")
    read = Path.read_text

    def ending(path: Path, **options: Any) -> str:
        pidfile.unlink()
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", ending)
    start_store(tmp_path).stop()
