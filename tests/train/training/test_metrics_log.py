"""`metrics.jsonl` of a run of many fits."""

import json
from pathlib import Path

from train.training.metrics_log import MetricsLog


def test_a_journal_has_each_fit_once_and_begins_anew_with_each_run(tmp_path: Path) -> None:
    for _ in range(2):
        journal = MetricsLog(tmp_path / "metrics.jsonl")
        for stage in ("trial", "fold"):
            journal.note("a", {"stage": stage})
        journal.note("b", {"stage": "fold"})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"fit": "a", "stage": "trial"}, {"fit": "b", "stage": "fold"}] == journal.lines
