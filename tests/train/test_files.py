"""Paths that a command is to write, checked before its work begins."""

from pathlib import Path

import pytest

from train.files import check_free


def test_a_free_path_is_accepted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    check_free(tmp_path / "set.npz", ".npz")
    assert not list(tmp_path.iterdir())


def test_a_name_that_fits_only_without_its_partial_suffix_is_refused(tmp_path: Path) -> None:
    name = "n" * 250
    (tmp_path / name).touch()  # the name itself fits
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="cannot be written: File name too long; give a shorter name"):
        check_free(tmp_path / name)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written: File name too long"):
        check_free(tmp_path / ("n" * 300))


def test_a_dangling_link_is_taken(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="link exists; remove it"):
        check_free(tmp_path / "link")


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_path_in_no_folder_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"folder .*missing does not exist; make it|file is a file; give a folder"):
        check_free(tmp_path / folder / "night.tar.gz")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no files, from root too")
def test_a_folder_that_takes_no_files_is_found_by_trying() -> None:
    with pytest.raises(ValueError, match=r"--truth /proc/self/night\.parquet cannot be written"):
        check_free(Path("/proc/self/night.parquet"), option="--truth")
