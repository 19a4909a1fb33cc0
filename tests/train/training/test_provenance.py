"""What a run says that it was made with."""

import subprocess
from pathlib import Path

from train.training.provenance import code, processor


def test_a_checkout_is_named_by_its_commit_and_says_where_it_was_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        found = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    assert code(tmp_path).startswith("estampa ")
    git("init", "--quiet")
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    assert code(tmp_path) == f"commit {git('rev-parse', 'HEAD')}"
    (tmp_path / "file").write_text("two", encoding="utf-8")
    assert code(tmp_path) == f"commit {git('rev-parse', 'HEAD')}-dirty"
    (tmp_path / "installed").mkdir()
    assert code(tmp_path / "installed").startswith("estampa ")


def test_the_processor_is_that_of_the_table_or_of_the_platform(tmp_path: Path) -> None:
    table = tmp_path / "cpuinfo"
    table.write_text("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\n\nmodel name\t: Other\n", encoding="utf-8")
    assert processor(table) == "Some CPU: 3 GHz"
    assert processor(tmp_path / "absent")
