"""The broker and the store that come with the package."""

import socket
from pathlib import Path

import pytest

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
