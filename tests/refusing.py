"""As much of Kafka's protocol as it takes to refuse a password: ApiVersions, SaslHandshake, SaslAuthenticate."""

import contextlib
import socket
import struct
import threading

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
UNSUPPORTED_VERSION, SASL_AUTHENTICATION_FAILED = 35, 58


class RefusingBroker:
    """Takes no password. address: host:port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:  # it hangs up on a refusal
            while size := stream.read(4):
                request = stream.read(struct.unpack(">i", size)[0])
                key, version, correlation = struct.unpack_from(">hhi", request)
                answer = struct.pack(">i", correlation) + _answer(key, version)
                stream.write(struct.pack(">i", len(answer)) + answer)
                stream.flush()


def _answer(key: int, version: int) -> bytes:
    if key == API_VERSIONS:
        known = ((API_VERSIONS, 0), (SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 0), (3, 1), (1, 4), (0, 3))
        error = UNSUPPORTED_VERSION if version else 0
        return struct.pack(">hi", error, len(known)) + b"".join(struct.pack(">hhh", api, 0, top) for api, top in known)
    if key == SASL_HANDSHAKE:
        return struct.pack(">hi", 0, 1) + _string(b"PLAIN")
    return struct.pack(">h", SASL_AUTHENTICATION_FAILED) + _string(b"no such user or password") + struct.pack(">i", 0)


def _string(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text
