import io
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from consumer.cli.runtime import stopping


class Interrupting(io.StringIO):
    """A log in the middle of whose first line a signal comes."""

    def write(self, text: str) -> int:
        if not self.getvalue():
            super().write(text)
            os.kill(os.getpid(), signal.SIGTERM)
            return len(text)
        return super().write(text)


@pytest.fixture
def log() -> Iterator[Interrupting]:
    file, before = Interrupting(), structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file), cache_logger_on_first_use=False)
    yield file
    structlog.configure(**before)


@pytest.mark.timeout(20)
def test_a_signal_in_the_middle_of_a_line_of_the_log_stops_the_run(log: Interrupting) -> None:
    asked: list[str] = []
    with stopping(lambda: asked.append("stop")) as stopped:
        structlog.get_logger().info("subscribed")
        assert stopped()
    assert asked == ["stop"]
    assert "SIGTERM" in log.getvalue()


def test_a_signal_that_comes_while_the_handlers_are_put_in_place_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    put, asked = signal.signal, list[str]()

    def struck(number: int, handler: Any) -> Any:
        before = put(number, handler)
        if number == signal.SIGTERM and not asked:
            signal.raise_signal(number)
        return before

    monkeypatch.setattr(signal, "signal", struck)
    with stopping(lambda: asked.append("stop")) as stopped:
        assert stopped()
    assert asked == ["stop"]
