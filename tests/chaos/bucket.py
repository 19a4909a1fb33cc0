"""Object storage on this machine, so that a broker's topics outlive its kill: moto's S3, where it is installed."""

import http.client
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from consumer.embedded import free_port

INSTALLED = importlib.util.find_spec("moto") is not None
BUCKET = "estampa"


@contextmanager
def bucket() -> Iterator[str]:
    """Storage for `start_broker`, empty."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    credentials = {"AWS_ACCESS_KEY_ID": "estampa", "AWS_SECRET_ACCESS_KEY": "estampa", "AWS_REGION": "us-east-1"}
    os.environ |= credentials | {"AWS_ENDPOINT": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true"}
    try:
        _create(port)
        yield f"s3://{BUCKET}/"
    finally:
        process.kill()
        process.wait()


def _create(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("PUT", f"/{BUCKET}")
            assert connection.getresponse().status == http.HTTPStatus.OK
        except ConnectionError:
            assert time.monotonic() < deadline, "moto did not start"
            time.sleep(0.2)
        else:
            return
