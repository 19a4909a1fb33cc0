"""A dead-letter topic may hold what others wrote there: it is listed, shown and exported, and ends no command."""

import json
from pathlib import Path

import pytest

from consumer.cli.deadletters.listing import export
from consumer.deadletters.dead_letter import HEADER, DeadLetter
from consumer.errors import BadAlert, Reason
from consumer.message import Message
from tests.support.line import consuming, estampa_here, new_topics, produce, unique

GOOD = dict(DeadLetter.of(Message(b"x", "night", 0, 3), 0, BadAlert(Reason.EMPTY, "why")).headers())
FORGED: list[dict[str, str | bytes | None]] = [
    {"source": b"a\x00b/../../c"},
    {"source": "s" * 5000},
    {"time": str(10**30)},
    {"time": "-5"},
    {"partition": "one"},
    {"partition": "-1"},
    {"position": None},
    {"reason": b"\xff\xfe"},
    {"reason": "nosuch"},
]


def test_no_letter_is_written_over_another(tmp_path: Path) -> None:
    """Sources may be named so that a number before one makes it another's name."""
    sources = [("2-t", b"a"), ("t", b"b"), ("t", b"c"), ("t", b"b"), ("letter-2-of-t", b"d")]
    letters = [DeadLetter.of(Message(data, name, 0, 3), 0, BadAlert(Reason.EMPTY, "why")) for name, data in sources]
    found = export(letters, tmp_path / "out")
    assert found == {"letters": 5, "exported": 5, "without_bytes": 0}
    rows = [json.loads(line) for line in (tmp_path / "out" / "index.jsonl").read_text().splitlines()]
    assert [(tmp_path / "out" / row["file"]).read_bytes() for row in rows] == [data for _, data in sources]


@pytest.mark.integration
def test_letters_with_forged_headers_are_listed_and_exported_to_safe_names(
    broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    topics = new_topics(broker)
    for forged in FORGED:
        headers = GOOD | {f"{HEADER}{name}": value for name, value in forged.items()}
        produce(broker, topics["dead"], [b"bytes"], headers=[(name, value) for name, value in headers.items()])
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"))
    done = estampa_here(env, "deadletters", "list", "--each", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == len(FORGED)
    assert estampa_here(env, "deadletters", "list", "--each").returncode == 0
    folder = tmp_path / "out" / "letters"
    done = estampa_here(env, "deadletters", "export", str(folder))
    assert done.returncode == 0, done.stderr
    files = [path for path in folder.iterdir() if path.name != "index.jsonl"]
    assert len(files) == len(FORGED)
    assert {path.read_bytes() for path in files} == {b"bytes"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letters"]
