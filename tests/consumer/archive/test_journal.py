import json
from pathlib import Path

import pytest

from consumer.archive.journal import NAME, JournalEntry, ReplayJournal, candids_of
from consumer.errors import OutputError

SUBJECT = {"files": [["a.tar.gz", 10]], "model_id": "m"}


def progress(parts: int) -> JournalEntry:
    return JournalEntry(parts, parts * 10, {"read": parts * 10}, [parts, parts + 100])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out.parquet.parts"


def filled(folder: Path) -> ReplayJournal:
    journal = ReplayJournal(folder, SUBJECT)
    journal.begin()
    journal.add(progress(1))
    journal.add(progress(2))
    return journal


def test_a_journal_gives_its_lines_back(folder: Path) -> None:
    filled(folder)
    assert ReplayJournal(folder, SUBJECT).resume() == [progress(1), progress(2)]


def test_a_resumed_journal_goes_on(folder: Path) -> None:
    filled(folder)
    journal = ReplayJournal(folder, SUBJECT)
    journal.resume()
    journal.add(progress(3))
    assert ReplayJournal(folder, SUBJECT).resume() == [progress(1), progress(2), progress(3)]


def test_every_cut_of_the_last_line_leaves_those_before_it(folder: Path) -> None:
    """A kill can cut it anywhere."""
    filled(folder)
    path = folder / NAME
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for size in range(last, len(whole)):
        path.write_bytes(whole[:size])
        assert ReplayJournal(folder, SUBJECT).resume() == [progress(1)]
        assert path.read_bytes() == whole[:last], "what was cut is gone, so that the next line stands alone"


@pytest.mark.parametrize("left", [b"", b'{"fil'])
def test_a_journal_killed_before_its_first_line_was_whole_starts_anew(folder: Path, left: bytes) -> None:
    folder.mkdir()
    (folder / NAME).write_bytes(left)
    journal = ReplayJournal(folder, SUBJECT)
    assert journal.resume() == []
    journal.add(progress(1))
    assert ReplayJournal(folder, SUBJECT).resume() == [progress(1)]


def test_to_resume_what_was_never_begun_is_to_begin(folder: Path) -> None:
    assert ReplayJournal(folder, SUBJECT).resume() == []
    assert json.loads((folder / NAME).read_text()) == SUBJECT


def test_to_begin_over_an_unfinished_replay_is_refused_with_the_mend(folder: Path) -> None:
    filled(folder)
    with pytest.raises(OutputError, match="holds an unfinished replay: add --resume to go on, or delete it"):
        ReplayJournal(folder, SUBJECT).begin()


def test_the_journal_of_another_archive_or_model_is_not_gone_on_with(folder: Path) -> None:
    filled(folder)
    with pytest.raises(OutputError, match="is of other archives, options or another model"):
        ReplayJournal(folder, SUBJECT | {"model_id": "other"}).resume()


def test_a_subject_is_compared_as_json_so_tuples_are_lists(folder: Path) -> None:
    ReplayJournal(folder, {"files": [("a", 1)]}).begin()
    assert ReplayJournal(folder, {"files": [["a", 1]]}).resume() == []


def test_candids_of_all_lines_are_known_oldest_first() -> None:
    assert candids_of([progress(1), progress(2)]) == [1, 101, 2, 102]
