"""Files are read by what they hold, whatever they are called; what holds no alert is counted and said."""

import gzip
import os
import socket
import tarfile
import threading
from io import BytesIO
from pathlib import Path

import pytest
import structlog

from consumer.archive.contents import PassedOver
from consumer.archive.source import ArchiveSource, find_archives, read_packets
from consumer.errors import ArchiveError
from tests.consumer.archive.test_source import PACKETS, TINY, tar_of
from tests.support.packets import container

ONE = PACKETS[:1]


def source_of(path: Path, packet_bytes: int = 2**20) -> ArchiveSource:
    passed_over = PassedOver()
    return ArchiveSource(find_archives([path], passed_over), 2, passed_over=passed_over, packet_bytes=packet_bytes)


def payloads(source: ArchiveSource) -> list[bytes | None]:
    return [message.payload for batch in source.batches() for message in batch.messages]


def passed_over(path: Path) -> str:
    """What is said of the files that are passed over."""
    with structlog.testing.capture_logs() as logs:
        payloads(source_of(path))
    [line] = [line for line in logs if line["event"] == "files_passed_over"]
    return str(line["what"])


FORMS = {
    "a tar called tar.gz": ("night.tar.gz", tar_of(PACKETS)),
    "a gzipped tar called tar": ("night.tar", gzip.compress(tar_of(PACKETS))),
    "a tar without a suffix": ("night", tar_of(PACKETS)),
    "a tar gzipped twice": ("night.tar.gz", gzip.compress(gzip.compress(tar_of(PACKETS)))),
    "a tar in a tar": ("night.tar", tar_of([], [("inner.tar", tar_of(PACKETS))])),
    "a gzipped tar in a gzipped tar": ("n.tgz", gzip.compress(tar_of([], [("i.tgz", gzip.compress(tar_of(PACKETS)))]))),
    "gzipped members": ("night.tar", tar_of([], [(f"{n}.avro.gz", gzip.compress(p)) for n, p in enumerate(PACKETS)])),
    "members in capitals": ("night.tar", tar_of([], [(f"{n}.AVRO", p) for n, p in enumerate(PACKETS)])),
    "members without a suffix": ("night.tar", tar_of([], [(str(n), p) for n, p in enumerate(PACKETS)])),
}


@pytest.mark.parametrize(("name", "content"), FORMS.values(), ids=FORMS)
def test_a_tar_in_any_form_and_under_any_name_gives_all_its_packets(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert payloads(source_of(path)) == PACKETS


@pytest.mark.parametrize("name", ["1.avro", "1.avro.gz", "1.AVRO", "1", "1.txt"])
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_container_under_any_name_is_read(tmp_path: Path, name: str, gzipped: bool) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(ONE[0]) if gzipped else ONE[0])
    assert payloads(source_of(path)) == ONE
    assert payloads(source_of(tmp_path)) == ONE


def test_a_gzipped_container_of_many_is_read_block_by_block(tmp_path: Path) -> None:
    path = tmp_path / "many.avro.gz"
    path.write_bytes(gzip.compress(container([TINY.at(candid=candid) for candid in range(4)], sync_interval=1)))
    assert len(payloads(source_of(path))) == 4


def test_what_holds_no_alert_is_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    others = [("README.md", b"hello"), ("a.json", b"{}"), ("empty", b""), ("._0.avro", b"x"), ("__MACOSX/1.avro", b"x")]
    path.write_bytes(tar_of(ONE, others))
    said = passed_over(path)
    assert "2 × no alert (README.md, a.json)" in said
    assert "1 × empty (empty)" in said
    assert "2 × macOS metadata (._0.avro, __MACOSX/1.avro)" in said


def test_a_long_list_of_names_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of(ONE, [(f"{number}.txt", b"x") for number in range(9)]))
    assert "9 × no alert (0.txt, 1.txt, 2.txt, …)" in passed_over(path)


def test_hundreds_of_macos_files_are_no_bad_alerts(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of(ONE, [(f"._{number}.avro", b"\0\5\x16\7") for number in range(300)]))
    assert payloads(source_of(path)) == ONE


def test_links_devices_and_sparse_files_of_a_tar_are_passed_over(tmp_path: Path) -> None:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        kinds = {"l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE, "f": tarfile.FIFOTYPE, "d": tarfile.DIRTYPE}
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "elsewhere"
            tar.addfile(member)
        sparse = tarfile.TarInfo("s.avro")
        sparse.type = tarfile.GNUTYPE_SPARSE
        header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
        header[483:495] = b"777777777777"  # real size: 69 GB
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
        tar.fileobj.write(header)  # type: ignore[union-attr]
        tar.offset += len(header)  # type: ignore[attr-defined]
        member = tarfile.TarInfo("1.avro")
        member.size = len(ONE[0])
        tar.addfile(member, BytesIO(ONE[0]))
    path = tmp_path / "night.tar"
    path.write_bytes(out.getvalue())
    assert payloads(source_of(path)) == ONE
    said = passed_over(path)
    assert "2 × link (l, h)" in said
    assert "1 × device (f)" in said
    assert "1 × sparse file (s.avro)" in said


def test_a_folder_follows_links_once_and_says_which_lead_nowhere(tmp_path: Path) -> None:
    night, elsewhere = tmp_path / "night", tmp_path / "elsewhere"
    night.mkdir()
    elsewhere.mkdir()
    (elsewhere / "1.avro").write_bytes(ONE[0])
    (night / "linked").symlink_to(elsewhere)
    (night / "loop").symlink_to(night)
    (night / "gone.avro").symlink_to(tmp_path / "nowhere")
    os.mkfifo(night / "pipe.avro")
    assert payloads(source_of(night)) == ONE
    said = passed_over(night)
    assert "1 × link that leads nowhere" in said
    assert "1 × FIFO" in said
    assert "1 × folder met before, by a link" in said


def test_a_path_that_is_no_file_says_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, said in (("pipe", "a FIFO"), ("link", "a link that leads nowhere"), ("socket", "a socket")):
            with pytest.raises(ArchiveError, match=f"{name} is {said}; give a tar"):
                find_archives([tmp_path / name])


NOTHING = [tar_of([]), tar_of([], [("a.txt", b"x")]), b"text", gzip.compress(b"text")]


@pytest.mark.parametrize("content", NOTHING, ids=["empty", "text in a tar", "text", "gzipped text"])
def test_a_file_of_which_nothing_is_read_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "night"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"no alert in night: .*; give a tar, an Avro container"):
        payloads(source_of(path))


def test_names_that_are_not_utf_8_are_spelled_out(tmp_path: Path) -> None:
    name = os.fsdecode(b"night-\xe9.avro")
    (tmp_path / name).write_bytes(ONE[0])
    (tmp_path / os.fsdecode(b"\xe9.txt")).write_bytes(b"x")
    [batch] = source_of(tmp_path).batches()
    assert [message.topic for message in batch.messages] == [r"night-\xe9.avro"]
    assert r"1 × no alert (\xe9.txt)" in passed_over(tmp_path)


def test_a_member_past_the_limit_is_cut_to_one_byte_more_and_left_to_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of([PACKETS[0] + bytes(5000), PACKETS[1]]))
    limit = len(PACKETS[0]) + 100
    assert payloads(source_of(path, limit)) == [(PACKETS[0] + bytes(5000))[: limit + 1], PACKETS[1]]


def test_gzip_that_holds_gigabytes_is_not_held(tmp_path: Path) -> None:
    bomb = gzip.compress(gzip.compress(PACKETS[0] + bytes(2**26)))
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of([], [("bomb.avro.gz", bomb), ("1.avro", PACKETS[1])]))
    assert [len(payload or b"") for payload in payloads(source_of(path, 2**20))] == [2**20 + 1, len(PACKETS[1])]


def test_tars_nested_without_end_are_left_at_a_depth(tmp_path: Path) -> None:
    content = tar_of(ONE)
    for _ in range(30):
        content = tar_of([], [("inner.tar", content)])
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of(ONE, [("deep.tar", content)]))
    assert payloads(source_of(path)) == ONE
    assert "1 × nested more than 4 deep (inner.tar)" in passed_over(path)


def test_damage_in_a_nested_tar_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of([], [("inner.tar", tar_of(PACKETS[:2])[:2048]), ("3.avro", PACKETS[2])]))
    source = source_of(path)
    with pytest.raises(ArchiveError, match=r"inner.tar: .*; get it again"):
        payloads(source)


def test_a_source_told_to_stop_leaves_what_it_passes_over(tmp_path: Path) -> None:
    """A terabyte of a file that is none of ours must not hold up a SIGTERM."""
    path = tmp_path / "night.tar"
    member = tarfile.TarInfo("huge.bin")
    member.size = 2**40
    with path.open("wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.truncate(member.size)
    source = source_of(path)
    stopping = threading.Timer(0.2, source.stop)
    stopping.start()
    assert payloads(source) == []
    stopping.join()


def test_packets_of_several_archives_are_read_in_order(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"{number}.tar").write_bytes(tar_of(PACKETS[2 * number : 2 * number + 2]))
    assert list(read_packets([tmp_path / "0.tar", tmp_path / "1.tar"])) == PACKETS[:4]
