"""The members of a tar, read as a stream to its very end. What does not read as a tar is damage, and is noted.

tarfile ends without a word at a header that does not check, at a cut between two members, and at the first block of
zeros, whatever follows. A damaged tar then looks like a short one, and of joined tars all but the first are lost.
"""

import tarfile
from collections.abc import Iterator
from typing import IO, Any, Final

READ_BYTES: Final = 2**15
"""tarfile copies what is left of a read for each member that it takes from it: a megabyte cost 50 µs an alert."""
BLOCK: Final = tarfile.BLOCKSIZE
HEADER_BYTES: Final = 2**20
"""An extended header, which holds a long name or a time, is read into memory: a larger one is an attack."""
HEADERS_IN_A_ROW: Final = 8
EXTENDED: Final = frozenset({
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
})  # fmt: skip


EOF_MARK: Final = tarfile.EOFHeaderError  # type: ignore[attr-defined] # a block of zeros; its stub leaves these out
BAD_HEADER: Final = tarfile.InvalidHeaderError  # type: ignore[attr-defined] # a checksum that does not match
AT_END: Final = (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with `head`, its first 512 bytes, is a tar, an empty one included."""
    if head[257:262] == b"ustar":
        return True  # also where its first header is damaged: that must be said
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except EOF_MARK:
        return True
    except tarfile.HeaderError:
        return False
    return True


class _Member(tarfile.TarInfo):
    """Reads headers for `TarMembers`: tarfile calls `fromtarfile` for each, and ends where that raises HeaderError."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Any:
        """The next member, past blocks of zeros and past what is no header. Raises a HeaderError at the file's end."""
        tarfile.headers_in_a_row += 1
        if tarfile.headers_in_a_row > HEADERS_IN_A_ROW:
            raise _damage(f"more than {HEADERS_IN_A_ROW} extended headers in a row", tarfile)
        while True:
            try:
                member = super().fromtarfile(tarfile)
            except EOF_MARK:
                tarfile.ended = True
            except BAD_HEADER as error:
                tarfile.note(str(error))
            except AT_END:
                if tarfile.ended:
                    raise EOF_MARK from None  # also of a tar without members, which EmptyHeaderError calls an error
                tarfile.note("it has no end mark, so it is cut short")
                raise
            else:
                tarfile.ended, tarfile.headers_in_a_row = False, 0
                return member

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        member = super().frombuf(buf, encoding, errors)
        if member.type in EXTENDED and member.size > HEADER_BYTES:
            raise tarfile.ReadError(f"an extended header of {member.size} bytes; at most {HEADER_BYTES} are read")
        return member


def _damage(what: str, tar: Any) -> tarfile.ReadError:
    return tarfile.ReadError(f"{what}, before byte {tar.fileobj.tell()}")


class TarMembers(tarfile.TarFile):
    """A tar that is read through, joined ones as one. damage: what was found wrong, the place in bytes."""

    tarinfo = _Member
    ended = False
    headers_in_a_row = 0

    @classmethod
    def of(cls, stream: Any) -> "TarMembers":
        """Raises tarfile.ReadError for damage that cannot be read past."""
        return cls.open(fileobj=stream, mode="r|", bufsize=READ_BYTES)

    @property
    def damage(self) -> list[str]:
        found: list[str] = self.__dict__.setdefault("_damage", [])
        return found

    def note(self, what: str) -> None:
        """Damage that can be read past: once, however many blocks in a row are no header."""
        place = self.fileobj.tell()
        if place != self.__dict__.get("_noted_to", -1) + BLOCK:
            self.damage.append(f"{what}, before byte {place}")
        self.__dict__["_noted_to"] = place

    def each(self) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        """Every member, and its content where it is a plain file. Forgets each: a night of them is a gigabyte."""
        while member := self.next():
            self.members.clear()  # type: ignore[attr-defined] # its stub leaves it out
            yield member, self.extractfile(member) if member.isreg() and not member.issparse() else None
