"""What stands before a server and passes on what it admits: for tests of clients."""

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path
from typing import Protocol, Self

from consumer.embedded import Server, free_port, start_broker


class Leads(Protocol):
    """Passes connections on to `target`, host:port."""

    target: str
    address: str


def start_behind(front: Leads, storage: str = "memory://tansu/") -> Server:
    """A broker that sends its clients to `front`. That leads to it from the first question on."""
    port = free_port()
    front.target = f"127.0.0.1:{port}"
    return start_broker(port, storage, advertised=front.address)


class Front:
    """Listens on a port of its own and passes bytes on to `target`, host:port; set it before use. address: host:port.

    certificate, key: speak TLS to clients. The server behind need not.
    """

    def __init__(self, certificate: Path | None = None, key: Path | None = None) -> None:
        self.target = ""
        self._streams: list[Stream] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._context and certificate:
            self._context.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def admit(self, near: "Stream", far: "Stream") -> bool:  # noqa: ARG002 - for those that ask who it is
        """Whether what this client sends from now on goes to the server."""
        return True

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._end_all())
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        with (
            contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError),
            Stream(reader, writer) as near,
            Stream(*await asyncio.open_connection(host, int(port))) as far,
        ):
            self._streams += near, far
            if await self.admit(near, far):
                await asyncio.gather(near.pump(far), far.pump(near))

    async def _end_all(self) -> None:
        """A connection that is left would be warned of later, in the middle of another test."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for one in self._streams:
            one.writer.transport.abort()
        for _ in range(3):  # TLS, the connection under it, and their end take a turn each
            await asyncio.sleep(0)


class Stream:
    """Both directions of a connection, closed at the end: either side may go at any time, and so may we."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    async def pump(self, sink: "Stream") -> None:
        with contextlib.suppress(OSError):
            while data := await self.reader.read(65536):
                sink.writer.write(data)
                await sink.writer.drain()
        sink.writer.close()

    async def frame(self) -> bytes:
        """One message of Kafka's protocol, without the four bytes of its length."""
        return await self.reader.readexactly(int.from_bytes(await self.reader.readexactly(4), "big"))

    async def send_frame(self, message: bytes) -> None:
        self.writer.write(len(message).to_bytes(4, "big") + message)
        await self.writer.drain()
