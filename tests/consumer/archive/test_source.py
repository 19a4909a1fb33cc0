import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumer.archive.source import ArchiveSource, find_archives
from consumer.decoding.alert import Alert, read_alerts
from consumer.errors import ArchiveError, BadAlert
from consumer.message import Message
from tests.support.packets import SCHEMA, Packet, container
from tests.support.raw import block, body, container_of

TINY = Packet(stamps={"science": b"s", "template": b"t", "difference": b"d"})
PACKETS = [TINY.at(candid=candid).payload() for candid in range(1, 6)]


def tar_of(payloads: Sequence[bytes], extra: Sequence[tuple[str, bytes]] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, payload in [*((f"{number}.avro", one) for number, one in enumerate(payloads)), *extra]:
            member = tarfile.TarInfo(name)
            member.size = len(payload)
            tar.addfile(member, io.BytesIO(payload))
    return out.getvalue()


def source_of(*paths: Path, size: int = 2, skip: int = 0, limit: int | None = None) -> ArchiveSource:
    return ArchiveSource(find_archives(paths), size, skip, limit)


def messages(source: ArchiveSource) -> list[Message]:
    return [message for batch in source.batches() for message in batch.messages]


def collect(source: ArchiveSource, seen: list[bytes | None]) -> None:
    """Every payload into `seen`, up to where the source fails."""
    for batch in source.batches():
        seen += [message.payload for message in batch.messages]


def candids(source: ArchiveSource) -> list[int]:
    found = []
    for message in messages(source):
        for outcome in read_alerts(message.payload, 2**20):
            assert isinstance(outcome, Alert), outcome
            found.append(outcome.candid)
    return found


@pytest.fixture
def night(tmp_path: Path) -> Path:
    path = tmp_path / "ztf_public_20260101.tar.gz"
    path.write_bytes(gzip.compress(tar_of(PACKETS)))
    return path


# What is read


@pytest.mark.parametrize("name", ["night.tar", "night.tar.gz", "night.tgz"])
def test_every_packet_of_a_tar_comes_in_order_with_its_original_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(tar_of(PACKETS) if name.endswith(".tar") else gzip.compress(tar_of(PACKETS)))
    assert [message.payload for message in messages(source_of(path))] == PACKETS


def test_messages_say_which_archive_they_come_from_and_their_place_in_it(night: Path) -> None:
    assert [(one.topic, one.partition, one.offset, one.timestamp_ms) for one in messages(source_of(night))] == [
        ("ztf_public_20260101.tar.gz", 0, place, None) for place in range(5)
    ]


def test_batches_are_of_the_size_asked_for_and_have_nothing_to_commit(night: Path) -> None:
    batches = list(source_of(night).batches())
    assert [len(batch.messages) for batch in batches] == [2, 2, 1]
    assert all(batch.offsets == {} for batch in batches)


def test_members_that_are_no_packets_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of(PACKETS[:1], [("README.md", b"hello"), ("night/sums.txt", b"1")]))
    assert candids(source_of(path)) == [1]


@pytest.mark.parametrize("sync_interval", [1, 16_000])
@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_a_container_of_many_gives_every_record_however_it_is_blocked(
    tmp_path: Path, codec: str, sync_interval: int
) -> None:
    path = tmp_path / "many.avro"
    path.write_bytes(container([TINY.at(candid=candid) for candid in range(9)], codec, sync_interval=sync_interval))
    assert candids(source_of(path)) == list(range(9))


def test_a_block_becomes_a_container_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "many.avro"
    path.write_bytes(container([TINY.at(candid=candid) for candid in range(4)], sync_interval=1))
    assert len(messages(source_of(path))) == 4


def test_a_container_without_blocks_has_no_alert_and_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "none.avro"
    path.write_bytes(container_of(SCHEMA, []))
    assert candids(source_of(path)) == []


def test_a_damaged_block_leaves_those_before_it_and_is_handed_on_whole(tmp_path: Path) -> None:
    path, whole = tmp_path / "broken.avro", block(body(TINY))
    path.write_bytes(container_of(SCHEMA, [whole, whole, whole[:-3], whole]))
    outcomes = [type(one) for message in messages(source_of(path)) for one in read_alerts(message.payload, 2**20)]
    assert outcomes == [Alert, Alert, BadAlert]


@pytest.mark.parametrize("content", [b"", b"not avro at all", b"Obj\x01"])
def test_a_file_that_is_no_container_is_one_message_for_the_dead_letters(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.avro"
    path.write_bytes(content)
    [message] = messages(source_of(path))
    assert message.payload == content


def test_a_directory_is_read_at_any_depth_by_name(tmp_path: Path) -> None:
    for place, name in enumerate(("b/2.avro", "a.avro", "b/1.avro", "c.tar")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tar_of(PACKETS[4:]) if name.endswith("tar") else PACKETS[place])
    (tmp_path / "labels.csv").write_text("x")
    source = source_of(tmp_path)
    assert candids(source) == [2, 3, 1, 5]
    assert [message.topic for message in messages(source)] == ["a.avro", "b/1.avro", "b/2.avro", "c.tar"]


def test_a_folder_that_is_named_like_a_container_is_searched_as_spark_writes_them(tmp_path: Path) -> None:
    (tmp_path / "night.avro").mkdir()
    (tmp_path / "night.avro" / "part-0.avro").write_bytes(PACKETS[0])
    assert candids(source_of(tmp_path)) == [1]
    assert candids(source_of(tmp_path / "night.avro")) == [1]


def test_archives_are_read_in_the_order_given(tmp_path: Path) -> None:
    for name, payload in (("b.avro", PACKETS[0]), ("a.avro", PACKETS[1])):
        (tmp_path / name).write_bytes(payload)
    assert candids(source_of(tmp_path / "b.avro", tmp_path / "a.avro")) == [1, 2]


# Skipping, limits, stops


@pytest.mark.parametrize("skip", range(7))
def test_a_resumed_source_passes_over_what_was_done(night: Path, skip: int) -> None:
    assert candids(source_of(night, skip=skip)) == [1, 2, 3, 4, 5][skip:]


@pytest.mark.parametrize("limit", [1, 2, 5, 9])
def test_a_limit_is_of_alerts(night: Path, limit: int) -> None:
    assert candids(source_of(night, limit=limit)) == [1, 2, 3, 4, 5][:limit]


def test_a_limit_counts_the_records_of_a_container_and_takes_its_blocks_whole(tmp_path: Path) -> None:
    path, two = tmp_path / "many.avro", block(2 * body(TINY), count=2)
    path.write_bytes(container_of(SCHEMA, [two, two, two]))
    assert len(candids(source_of(path, limit=2))) == 2
    assert len(candids(source_of(path, limit=3))) == 4


def test_what_is_no_container_counts_as_one_alert_towards_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    path.write_bytes(tar_of([b"junk", PACKETS[0], PACKETS[1]]))
    assert len(messages(source_of(path, limit=2))) == 2


def test_a_limit_that_is_used_up_reads_nothing(night: Path) -> None:
    assert candids(source_of(night, limit=0)) == []


def test_a_source_told_to_stop_ends_after_the_batch_in_hand(night: Path) -> None:
    source = source_of(night)
    batches = source.batches()
    next(batches)
    source.stop()
    assert list(batches) == []


def test_how_far_it_is_ends_at_the_size_of_the_files(night: Path) -> None:
    source = source_of(night)
    assert source.bytes_total == night.stat().st_size
    list(source.batches())
    assert source.bytes_read == source.bytes_total


# Damage


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.99])
def test_a_truncated_archive_gives_what_can_be_read_and_then_says_so(night: Path, keep: float) -> None:
    content = night.read_bytes()
    night.write_bytes(content[: int(len(content) * keep)])
    seen: list[bytes | None] = []
    with pytest.raises(ArchiveError, match=r"ends early or is damaged after \d+ alerts .*; get it again"):
        collect(source_of(night, size=1), seen)
    assert seen == PACKETS[: len(seen)]


def test_archives_behind_a_damaged_one_are_still_read(tmp_path: Path, night: Path) -> None:
    broken = tmp_path / "a.tar.gz"
    broken.write_bytes(b"\x1f\x8b not gzip")
    seen: list[bytes | None] = []
    with pytest.raises(ArchiveError, match=r"a.tar.gz ends early"):
        collect(source_of(broken, night), seen)
    assert seen == PACKETS


@pytest.mark.parametrize("content", [b"", b"plain text", gzip.compress(b"no tar")], ids=["empty", "text", "gzip"])
def test_what_is_no_tar_is_told_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "night.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"night.tar.gz ends early or is damaged after 0 alerts"):
        messages(source_of(path))


def test_paths_that_cannot_be_read_are_refused_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "night.zip").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"nowhere.tar does not exist; give a tar"):
        find_archives([tmp_path / "nowhere.tar"])
    with pytest.raises(ArchiveError, match=r"empty holds no file to read; give a tar"):
        find_archives([tmp_path / "empty"])
    with pytest.raises(ArchiveError, match=r"no alert in night.zip: 1 × empty \(night.zip\); give a tar"):
        messages(source_of(tmp_path / "night.zip"))
