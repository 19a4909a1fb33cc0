"""Text files as people and their editors leave them: UTF-8, with a byte order mark or without."""

from pathlib import Path
from typing import Final

UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def decode_text(raw: bytes, name: str) -> str:
    """The text of a file in UTF-8 without its byte order mark.

    name: what errors call the file. Raises ValueError for another encoding.
    """
    if raw.startswith(UTF16_MARKS):
        raise ValueError(f"{name} is UTF-16 text; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def read_text(path: Path) -> str:
    """The text of `path`, read once: a pipe will do. Raises OSError, or ValueError for another encoding than UTF-8."""
    return decode_text(path.read_bytes(), str(path))
