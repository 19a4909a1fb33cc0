"""Tables of labels: which class each alert is of, by candid."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from consumer.archive import find_archives
from consumer.archive_contents import SUFFIX, TAR_SUFFIXES
from model_zoo.taxonomy import CLASSES

TABLE = "labels.csv"


def read_labels(path: Path) -> dict[int, int]:
    """candid → place in CLASSES, from a CSV table with the columns `candid` and `label`.

    Raises ValueError naming the file, the line and what is wrong there.
    """
    labels: dict[int, int] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        if missing := {"candid", "label"} - set(rows.fieldnames or ()):
            raise ValueError(
                f"{path} has no column {', '.join(sorted(missing))}: its first line must name candid,label"
            )
        for number, row in enumerate(rows, start=2):
            if row["label"] not in CLASSES:
                raise ValueError(f"{path}:{number}: label {row['label']!r} is none of {', '.join(CLASSES)}")
            if not row["candid"].isdecimal():
                raise ValueError(f"{path}:{number}: candid {row['candid']!r} is no number")
            labels[int(row["candid"])] = CLASSES.index(row["label"])
    return labels


def labels_beside(archive: Path) -> dict[int, int]:
    """Labels of an archive's alerts: a simulated night's truth table, or the folder's `labels.csv`, or none."""
    truth = truth_beside(archive)
    if truth.is_file():
        columns = pq.read_table(truth, columns=["candid", "class"]).to_pydict()
        return {candid: CLASSES.index(name) for candid, name in zip(*columns.values(), strict=True)}
    for folder in (archive.parent, archive.parent.parent):
        if (folder / TABLE).is_file():
            return read_labels(folder / TABLE)
    return {}


def truth_beside(archive: Path) -> Path:
    """Where a simulated night's truth table lies, if it is one."""
    suffix = next((suffix for suffix in (*TAR_SUFFIXES, SUFFIX) if archive.name.endswith(suffix)), "")
    return archive.with_name(archive.name.removesuffix(suffix) + ".truth.parquet")


def origin_of(archives: Sequence[Path]) -> str:
    """`simulated` where a truth table lies beside any of the archives, `real` else: no sky tells the truth."""
    files = [*archives, *(found.path for found in find_archives(archives))]
    return "simulated" if any(truth_beside(file).is_file() for file in files) else "real"
