"""Paths that are to be written: refused before anything is read where that would destroy something, or cannot be."""

import os
from pathlib import Path

import pytest

from consumer.errors import OutputError
from consumer.writable import check_files, check_folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "night.tar"
    path.write_bytes(b"alerts")
    return path


def linked(path: Path, name: str) -> Path:
    link = path.with_name(name)
    link.symlink_to(path)
    return link


def hard_linked(path: Path, name: str) -> Path:
    link = path.with_name(name)
    os.link(path, link)
    return link


def spelled_otherwise(path: Path, _: str) -> Path:
    return path.parent / "." / ".." / path.parent.name / path.name


@pytest.mark.parametrize("other", [lambda path, _: path, linked, hard_linked, spelled_otherwise])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_an_input_by_any_name_is_refused_even_to_overwrite(
    archive: Path, other: object, overwrite: bool
) -> None:
    out = other(archive, "out.avro")  # type: ignore[operator]
    with pytest.raises(OutputError, match=r"--out .* is an input"):
        check_files({"--out": out}, [archive], overwrite=overwrite)
    assert archive.read_bytes() == b"alerts"


def test_an_output_within_a_folder_that_is_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"--out .* lies in an input"):
        check_files({"--out": tmp_path / "out.avro"}, [tmp_path])


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"--out and --dead-letters are both .*; give each a file of its own"):
        check_files({"--out": tmp_path / "a.avro", "--dead-letters": tmp_path / "b" / ".." / "a.avro"})


def test_a_file_that_exists_is_refused_unless_it_is_to_be_overwritten(archive: Path) -> None:
    with pytest.raises(OutputError, match=r"--out .*night.tar exists; add --overwrite to replace it"):
        check_files({"--out": archive})
    check_files({"--out": archive}, overwrite=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing/out.avro", r"folder .*missing does not exist; make it, or write elsewhere"),
        ("night.tar/out.avro", r"night.tar is a file; give a folder"),
        ("folder", r"is a folder; give the name of a file"),
        ("/proc/out.avro", r"/proc/out.avro cannot be written"),
    ],
)
def test_a_file_that_cannot_be_made_is_told_of_before_the_start(
    tmp_path: Path, archive: Path, name: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=said):
        check_files({"--out": tmp_path / name})
    assert archive.read_bytes() == b"alerts"


@pytest.mark.parametrize(
    ("name", "said"), [("night.tar/state", "night.tar is a file; give another"), ("/proc/state", "cannot be written")]
)
def test_a_folder_that_cannot_be_made_is_told_of_before_the_start(
    tmp_path: Path, archive: Path, name: str, said: str
) -> None:
    with pytest.raises(OutputError, match=said):
        check_folder("--state-dir", tmp_path / name)
    assert archive.exists()
    check_folder("--state-dir", tmp_path / "new" / "state")
