"""SASL before a broker that has none: as much of Kafka's protocol and of RFC 5802 as a login takes."""

import base64
import hashlib
import hmac
import os
import struct
from collections.abc import Generator
from pathlib import Path

from tests.support.front import Front, Stream

SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
UNSUPPORTED_VERSION, SASL_AUTHENTICATION_FAILED = 35, 58
OURS = {SASL_HANDSHAKE: (1, 1), SASL_AUTHENTICATE: (0, 0)}
"""Lowest and highest version of what is answered here."""
ITERATIONS = 4096

Exchange = Generator[bytes, bytes, bool]
"""Sent what the client says, yields answers, and returns whether it may come in."""


class LoginFront(Front):
    """Admits one user by PLAIN or SCRAM. admitted: how many connections logged in, by mechanism.

    security: the protocol, as Kafka's clients name it.
    """

    def __init__(self, user: str, password: str, certificate: Path | None = None, key: Path | None = None) -> None:
        self._user, self._password = user, password
        self.admitted: dict[str, int] = {}
        self.security = "SASL_SSL" if certificate else "SASL_PLAINTEXT"
        super().__init__(certificate, key)

    async def admit(self, near: Stream, far: Stream) -> bool:
        mechanism, exchange = "", None
        while True:
            request = await near.frame()
            key, version, correlation, named = struct.unpack_from(">hhih", request)
            body = request[10 + max(named, 0) :]
            head = struct.pack(">i", correlation)
            if key == API_VERSIONS:
                await near.send_frame(head + await _versions(version, request, far))
            elif key == SASL_HANDSHAKE:
                mechanism = body[2:].decode()
                exchange = self._exchange(mechanism)
                next(exchange)
                await near.send_frame(head + struct.pack(">hi", 0, 1) + _string(body[2:]))
            elif key == SASL_AUTHENTICATE and exchange:
                try:
                    answer, allowed = exchange.send(body[4:]), None
                except StopIteration as done:
                    answer, allowed = b"", done.value
                if allowed is False:
                    refusal = struct.pack(">h", SASL_AUTHENTICATION_FAILED) + _string(b"no such user or password")
                    await near.send_frame(head + refusal + struct.pack(">i", 0))
                    return False
                await near.send_frame(head + struct.pack(">hhi", 0, -1, len(answer)) + answer)
                if allowed or answer.startswith(b"v="):
                    self.admitted[mechanism] = self.admitted.get(mechanism, 0) + 1
                    return True
            else:
                return False

    def _exchange(self, mechanism: str) -> Exchange:
        if mechanism == "PLAIN":
            return self._plain()
        return self._scram(mechanism.removeprefix("SCRAM-").replace("-", "").lower())

    def _plain(self) -> Exchange:
        said = yield b""
        return said == f"\0{self._user}\0{self._password}".encode()

    def _scram(self, digest: str) -> Exchange:
        """The server's side of RFC 5802, without channel binding."""
        first = (yield b"").removeprefix(b"n,,")
        fields = dict(one.split("=", 1) for one in first.decode().split(","))
        salt = os.urandom(16)
        nonce = fields["r"] + base64.b64encode(os.urandom(18)).decode()
        challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={ITERATIONS}".encode()
        without_proof, _, proof = (yield challenge).rpartition(b",p=")
        salted = hashlib.pbkdf2_hmac(digest, self._password.encode(), salt, ITERATIONS)
        message = b",".join((first, challenge, without_proof))
        client_key = hmac.digest(salted, b"Client Key", digest)
        signature = hmac.digest(hashlib.new(digest, client_key).digest(), message, digest)
        expected = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        if fields["n"] != self._user or not hmac.compare_digest(base64.b64decode(proof), expected):
            return False
        yield b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", digest), message, digest))
        return True


async def _versions(version: int, request: bytes, far: Stream) -> bytes:
    """What the server behind knows, and a login."""
    if version:
        return struct.pack(">hi", UNSUPPORTED_VERSION, 0)
    await far.send_frame(request)
    answer = await far.frame()
    entries = {key: versions for key, *versions in struct.iter_unpack(">hhh", answer[10:])} | OURS
    return struct.pack(">hi", 0, len(entries)) + b"".join(struct.pack(">hhh", key, *entries[key]) for key in entries)


def _string(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text
