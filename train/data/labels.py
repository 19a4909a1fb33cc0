"""Tables of labels: which class each alert is of, by candid."""

import codecs
import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from consumer.archive.contents import SUFFIX, TAR_SUFFIXES
from consumer.archive.source import find_archives
from model_zoo.classes import CLASSES

TABLE = "labels.csv"
WHOLE: Final = re.compile(r"[+-]?\d{1,30}(\.0*)?")
FLOAT: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def read_labels(path: Path) -> dict[int, int]:
    """candid → place in CLASSES, from a CSV table with the columns `candid` and `label`, as spreadsheets write them.

    Commas, semicolons or tabs; UTF-8 or UTF-16; names in any case and place, other columns beside them. Raises
    ValueError naming the file, the line and what is wrong there.
    """
    text = _text(path)
    header = text.partition("\n")[0]
    rows = csv.DictReader(text.splitlines(keepends=True), delimiter=_delimiter(header), strict=True)
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    if missing := {"candid", "label"} - set(rows.fieldnames):
        raise ValueError(f"{path} has no column {', '.join(sorted(missing))}: its first line must name candid,label")
    labels: dict[int, int] = {}
    lines: dict[int, int] = {}
    try:
        for row in rows:
            where = f"{path}:{rows.line_num}"
            candid, label = _candid(row["candid"], where), _label(row["label"], where)
            if labels.setdefault(candid, label) != label:
                names = f"{CLASSES[labels[candid]]} (line {lines[candid]}) and {CLASSES[label]}"
                raise ValueError(f"{where}: candid {candid} is both {names}; keep one of them")
            lines.setdefault(candid, rows.line_num)
    except csv.Error as error:
        raise ValueError(f"{path}:{rows.line_num}: {error}; write the table again as CSV") from error
    return labels


def _text(path: Path) -> str:
    """What other columns say may be in any encoding: a candid and a class are ASCII."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig", "replace")


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _candid(text: str | None, where: str) -> int:
    spelled = (text or "").strip()
    if WHOLE.fullmatch(spelled):
        candid = int(float(spelled)) if "." in spelled else int(spelled)
        if abs(candid) < (2**53 if "." in spelled else 2**63):
            return candid
    if FLOAT.fullmatch(spelled):
        raise ValueError(
            f"{where}: candid {spelled} has lost its last digits; write the column as text or whole numbers"
        )
    raise ValueError(f"{where}: candid {spelled[:50]!r} is no whole number of 64 bits")


def _label(text: str | None, where: str) -> int:
    spelled = (text or "").strip()
    if spelled not in CLASSES:
        raise ValueError(f"{where}: label {spelled[:50]!r} is none of {', '.join(CLASSES)}")
    return CLASSES.index(spelled)


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
