"""Signatures that minisign itself made, of a checkpoint of two lines; and ours, of what was changed since."""

import hashlib
from pathlib import Path

import pytest

from model_zoo.errors import CheckpointError
from model_zoo.signature import verify

pytest.importorskip("cryptography", reason="signatures are optional: pip install 'estampa[signature]'")

KEY = "RWTmSvll7FVg5+0qu31nU3YH9DRYqggnOp1QH6zciaJ5oSLMbR8k0W60"
OTHER = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
FILES = {"model.json": b'{"format": 1}\n', "model.safetensors": b"weights\n"}
HASHED = """untrusted comment: signature from minisign secret key
RUTmSvll7FVg5zIGBHgvP1JIG7sIyPvubeWqvaf4cm6qr6qNWd6WxSXj/j5o2XRbNCiukwY+EsIRv38zShYUJdWIYtgkYihvqQ0=
trusted comment: tests of estampa
aeML+lzFpRsdfzyb0BHNLFTfCJQkBBDLUAcd8zrHb3HDONs0nB3Zwp221DTaoF3I0cTqNhGxku8ay/xtliP9CA==
"""
WHOLE = """untrusted comment: signature from minisign secret key
RWTmSvll7FVg50aX5sXB8UpMAcdOmP/nIIrlxiAL6aRgiiCT0dZjAG7JHVRT7ejKeqlmSAuTbPBGUxhrjF6JoeDxRKBosRP9WgI=
trusted comment: tests of estampa
z4pMK+am0Lu4iY76ptOE/ifYNT24DUsvEqkZavpr01aQc5nH0bcO32Q1ZS8WbVg/mU9FJL5GV8dvrT3ksy8CDA==
"""


def sums(files: dict[str, bytes]) -> str:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "model.sha256").write_text(sums(FILES))
    (tmp_path / "model.sha256.minisig").write_text(HASHED)
    return tmp_path


@pytest.mark.parametrize("signature", [HASHED, WHOLE], ids=["hashed", "whole"])
def test_what_minisign_signed_is_verified(signed: Path, signature: str) -> None:
    (signed / "model.sha256.minisig").write_text(signature)
    verify(signed, KEY)


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_changed_since_is_named(signed: Path, name: str) -> None:
    (signed / name).write_bytes(b"others")
    with pytest.raises(CheckpointError, match=f"{name} is not what was signed"):
        verify(signed, KEY)


def test_hashes_changed_with_the_file_are_not_the_ones_that_were_signed(signed: Path) -> None:
    (signed / "model.safetensors").write_bytes(b"others")
    (signed / "model.sha256").write_text(sums(FILES | {"model.safetensors": b"others"}))
    with pytest.raises(CheckpointError, match="not this public key's signature"):
        verify(signed, KEY)


def test_a_changed_comment_is_noticed(signed: Path) -> None:
    (signed / "model.sha256.minisig").write_text(HASHED.replace("tests of estampa", "the best of models"))
    with pytest.raises(CheckpointError, match="not this public key's signature"):
        verify(signed, KEY)


def test_a_key_that_is_not_trusted_is_named(signed: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is of key E76055EC65F94AE6; E7620F1842B4E81F is trusted"):
        verify(signed, OTHER)


def test_a_checkpoint_without_a_signature_is_refused_where_a_key_is_set(signed: Path) -> None:
    (signed / "model.sha256.minisig").unlink()
    with pytest.raises(CheckpointError, match="is not signed, and a public key is set"):
        verify(signed, KEY)


def test_every_file_must_be_named(signed: Path) -> None:
    """A signature of fewer files is of something else, whoever made it."""
    (signed / "model.sha256").write_text(sums({"model.json": FILES["model.json"]}))
    with pytest.raises(CheckpointError):
        verify(signed, KEY)


@pytest.mark.parametrize("key", ["", "RW", "not base64!", KEY[:-4]])
def test_a_key_that_is_none_is_told_so(signed: Path, key: str) -> None:
    with pytest.raises(CheckpointError, match="public key"):
        verify(signed, key)


def test_a_byte_order_mark_is_no_part_of_signature_or_key(signed: Path) -> None:
    """As an editor leaves the one, and a shell's `$(cat key.pub)` the other."""
    (signed / "model.sha256.minisig").write_bytes(b"\xef\xbb\xbf" + HASHED.encode())
    verify(signed, f"\ufeff{KEY}\r\n")


def test_a_signature_in_utf_16_is_named(signed: Path) -> None:
    (signed / "model.sha256.minisig").write_text(HASHED, encoding="utf-16")
    with pytest.raises(CheckpointError, match=r"model\.sha256\.minisig is UTF-16 text; save it as UTF-8"):
        verify(signed, KEY)
