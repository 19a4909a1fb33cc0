"""Damaged tars: what can be read is read, and the run fails and says where. Nothing ends early without a word."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from consumer.archive.source import ArchiveSource, find_archives
from consumer.errors import ArchiveError
from tests.consumer.archive.test_source import PACKETS, tar_of

BLOCK = 512


def read(path: Path) -> tuple[list[bytes | None], str]:
    """What a source gives of a file, and the error that it ends in, if any."""
    seen: list[bytes | None] = []
    try:
        for batch in ArchiveSource(find_archives([path]), batch_size=2).batches():
            seen += [message.payload for message in batch.messages]
    except ArchiveError as error:
        return seen, str(error)
    return seen, ""


def starts(content: bytes) -> list[int]:
    """Where each member's header begins."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [member.offset for member in tar.getmembers()]


@pytest.fixture(params=["plain", "gzip"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """Writes content as a tar, or as one that is gzipped."""

    def write(content: bytes) -> Path:
        path = tmp_path / ("night.tar" if request.param == "plain" else "night.tar.gz")
        path.write_bytes(content if request.param == "plain" else gzip.compress(content))
        return path

    return write


def test_a_wrong_bit_in_a_header_costs_its_member_and_fails_the_run(written) -> None:  # type: ignore[no-untyped-def]
    content = bytearray(tar_of(PACKETS))
    place = starts(bytes(content))[2]
    content[place + 150] ^= 1
    seen, error = read(written(bytes(content)))
    assert seen == PACKETS[:2] + PACKETS[3:]
    assert f"is damaged after 4 alerts (bad checksum, before byte {place + BLOCK}" in error


def test_a_cut_between_two_members_fails_the_run(written) -> None:  # type: ignore[no-untyped-def]
    content = tar_of(PACKETS)
    seen, error = read(written(content[: starts(content)[3]]))
    assert seen == PACKETS[:3]
    assert "after 3 alerts (it has no end mark, so it is cut short" in error


def test_a_cut_inside_a_header_fails_the_run(written) -> None:  # type: ignore[no-untyped-def]
    content = tar_of(PACKETS)
    seen, error = read(written(content[: starts(content)[3] + 100]))
    assert seen == PACKETS[:3]
    assert "after 3 alerts (it has no end mark, so it is cut short" in error


def test_members_behind_a_lone_block_of_zeros_are_read(written) -> None:  # type: ignore[no-untyped-def]
    content = tar_of(PACKETS)
    place = starts(content)[2]
    assert read(written(content[:place] + bytes(BLOCK) + content[place:])) == (PACKETS, "")


def test_joined_tars_are_read_to_their_end(written) -> None:  # type: ignore[no-untyped-def]
    assert read(written(tar_of(PACKETS[:2]) + tar_of(PACKETS[2:]))) == (PACKETS, "")


def test_joined_gzipped_tars_are_read_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "night.tar.gz"
    path.write_bytes(gzip.compress(tar_of(PACKETS[:2])) + gzip.compress(tar_of(PACKETS[2:])))
    assert read(path) == (PACKETS, "")


def test_what_follows_the_end_mark_and_is_no_tar_fails_the_run(written) -> None:  # type: ignore[no-untyped-def]
    content = tar_of(PACKETS)
    seen, error = read(written(content + b"\x01" * 3 * BLOCK))
    assert seen == PACKETS
    assert "after 5 alerts (bad checksum, before byte" in error or "invalid header" in error
    assert error.count("before byte") == 1  # blocks in a row are one damage


def test_zeros_after_the_end_mark_are_no_damage(written) -> None:  # type: ignore[no-untyped-def]
    assert read(written(tar_of(PACKETS) + bytes(40 * BLOCK))) == (PACKETS, "")


def test_gzip_that_ends_early_fails_the_run(tmp_path: Path) -> None:
    path = tmp_path / "night.tar.gz"
    content = gzip.compress(tar_of(PACKETS))
    path.write_bytes(content[:-9])
    seen, error = read(path)
    assert seen == PACKETS[: len(seen)]
    assert "ends early or is damaged after" in error


def test_an_extended_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 2**32
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of(PACKETS)[: -20 * BLOCK] + member.tobuf(tarfile.GNU_FORMAT) + bytes(BLOCK))
    _, error = read(path)
    assert "an extended header of 4294967296 bytes; at most 1048576 are read" in error


def test_extended_headers_in_a_row_are_bounded(tmp_path: Path) -> None:
    one = tarfile.TarInfo("x")
    one.type, one.size = tarfile.XGLTYPE, BLOCK
    records = b"13 comment=x\n".ljust(BLOCK, b"\0")
    path = tmp_path / "night.tar"
    path.write_bytes((one.tobuf(tarfile.USTAR_FORMAT) + records) * 400 + tar_of(PACKETS))
    seen, error = read(path)
    assert seen == []
    assert "more than 8 extended headers in a row" in error


def test_ordinary_pax_and_gnu_long_names_are_read(tmp_path: Path) -> None:
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind, pax_headers={"comment": "x"}) as tar:
            member = tarfile.TarInfo("long/" * 60 + "1.avro")
            member.size, member.mtime = len(PACKETS[0]), 1.5
            tar.addfile(member, io.BytesIO(PACKETS[0]))
        path = tmp_path / "night.tar"
        path.write_bytes(out.getvalue())
        assert read(path) == (PACKETS[:1], "")
