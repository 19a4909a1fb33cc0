"""Who made a checkpoint: its hashes in `model.sha256`, signed by minisign in `model.sha256.minisig`.

    sha256sum model.json model.safetensors > model.sha256 && minisign -Sm model.sha256

minisign 0.11 signs with Ed25519 the BLAKE2b-512 of the file ("ED"), or the file itself ("Ed"), and again the signature
with its trusted comment: https://jedisct1.github.io/minisign/
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from model_zoo.checks import read_text
from model_zoo.errors import CheckpointError

SIGNED: Final = ("model.json", "model.safetensors")
SUMS: Final = "model.sha256"
SIGNATURE: Final = "model.sha256.minisig"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A minisign public key: 8 bytes of name, 32 of Ed25519."""

    name: bytes
    key: bytes

    @classmethod
    def read(cls, text: str) -> Self:
        """From the one line that minisign prints. Raises CheckpointError."""
        raw = _base64(text.lstrip("\ufeff").strip(), "the public key")  # as a file that was read holds it
        if len(raw) != 42 or raw[:2] != b"Ed":
            raise CheckpointError(f"public key {text!r} is not minisign's: give its line that begins with RW")
        return cls(raw[2:10], raw[10:])

    def check(self, signature: bytes, message: bytes, place: Path) -> None:
        """Raise CheckpointError unless `signature` is this key's of `message`."""
        try:
            from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - optional
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
        except ImportError as error:
            raise CheckpointError("signatures need cryptography: pip install 'estampa[signature]'") from error
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except InvalidSignature as error:
            raise CheckpointError(
                f"{place} is not this public key's signature of what it names; do not use it"
            ) from error


def verify(folder: Path, public_key: str) -> None:
    """Raise CheckpointError unless the checkpoint in `folder` is, file for file, what the key's owner signed."""
    key = PublicKey.read(public_key)
    place = folder / SIGNATURE
    try:
        sums = (folder / SUMS).read_bytes()
        lines = read_text(place).splitlines()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {folder} is not signed, and a public key is set: {error}") from error
    if len(lines) != 4 or not lines[2].startswith("trusted comment: "):
        raise CheckpointError(f"{place} is not a minisign signature: it has {len(lines)} lines")
    raw, comment = _base64(lines[1], str(place)), lines[2].removeprefix("trusted comment: ").encode()
    algorithm, name, signature = raw[:2], raw[2:10], raw[10:]
    if name != key.name:
        raise CheckpointError(
            f"{place} is of key {name[::-1].hex().upper()}; {key.name[::-1].hex().upper()} is trusted"
        )
    key.check(signature, hashlib.blake2b(sums).digest() if algorithm == b"ED" else sums, place)
    key.check(_base64(lines[3], str(place)), signature + comment, place)
    _check_sums(folder, sums.decode("utf-8-sig", "replace"))


def _check_sums(folder: Path, sums: str) -> None:
    parted = [line.partition(" ") for line in sums.splitlines()]
    signed = {name.lstrip(" *"): digest for digest, _, name in parted}  # sha256sum marks binary files by a star
    for name in SIGNED:
        if name not in signed:
            raise CheckpointError(f"{folder / SUMS} does not name {name}: it is not signed")
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != signed[name]:
            raise CheckpointError(f"{folder / name} is not what was signed: its sha256 is {found}, not {signed[name]}")


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(f"{what} is not base64: {error}") from error
