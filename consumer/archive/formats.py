"""File formats of a replay's results: how records are written, and how parts become one file."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from consumer.configuration.times import utc_text
from consumer.decoding.container import read_header
from model_zoo.classes import CLASSES
from schemas import load_schema

SYNC: Final = b"estampa replayed"
"""Closes every Avro block of ours, so that blocks of one file may stand in another."""

Record = dict[str, Any]
CLASSIFICATION: Final[Any] = fastavro.parse_schema(load_schema("classification/1/classification"))
DEAD_LETTER: Final[Any] = fastavro.parse_schema(load_schema("deadletter/1/dead_letter"))


@dataclass(frozen=True, slots=True)
class Format:
    """How records become a file, and parts one file."""

    write: Callable[[Path, Sequence[Record]], None]
    join: Callable[[Path, Sequence[Path]], None]


def _write_parquet(path: Path, records: Sequence[Record]) -> None:
    rows = [record | _class_columns(record) for record in records]
    pq.write_table(pa.Table.from_pylist(rows, schema=_arrow_schema()), path)


def _join_parquet(path: Path, parts: Sequence[Path]) -> None:
    with pq.ParquetWriter(path, _arrow_schema()) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=_arrow_schema()))


def _arrow_schema() -> pa.Schema:
    """The classification's Avro schema in Arrow's types, and a column for the probability of each class."""
    fields = [(field["name"], _arrow_type(field["type"])) for field in CLASSIFICATION["fields"]]
    return pa.schema([*fields, *((f"probability_{name}", pa.float32()) for name in CLASSES)])


def _class_columns(record: Record) -> Record:
    """`probabilities` as a column for each class; a class that the model does not know has none."""
    return {f"probability_{name}": record["probabilities"].get(name) for name in CLASSES}


def _write_csv(path: Path, records: Sequence[Record]) -> None:
    """One row a record: maps become a column a class, times ISO 8601 in UTC, what is not known empty."""
    rows = [_flat(record) for record in records]
    csv.write_csv(pa.Table.from_pylist(rows, schema=_csv_schema()), path)


def _join_csv(path: Path, parts: Sequence[Path]) -> None:
    """One header, then every part's rows."""
    _write_csv(path, [])
    with path.open("ab") as file:
        for part in parts:
            file.write(part.read_bytes().partition(b"\n")[2])


def _csv_schema() -> pa.Schema:
    """The columns of Parquet that CSV can hold: maps are left out, lists are text, times are text."""
    text = {pa.types.is_list, pa.types.is_timestamp}
    return pa.schema(
        [
            (field.name, pa.string() if any(kind(field.type) for kind in text) else field.type)
            for field in _arrow_schema()
            if not pa.types.is_map(field.type)
        ]
    )


def _flat(record: Record) -> Record:
    known = [name for name in ("observed_time", "kafka_time", "classified_time") if record[name] is not None]
    times = {name: utc_text(record[name]) for name in known}
    return record | _class_columns(record) | times | {"flags": " ".join(record["flags"])}


def _arrow_type(kind: Any) -> pa.DataType:
    plain = {"string": pa.string(), "long": pa.int64(), "int": pa.int32(), "double": pa.float64()}
    plain |= {"float": pa.float32(), "boolean": pa.bool_()}
    if isinstance(kind, list):
        return _arrow_type(next(branch for branch in kind if branch != "null"))
    if isinstance(kind, str):
        return plain[kind]
    if kind["type"] == "map":
        return pa.map_(pa.string(), _arrow_type(kind["values"]))
    if kind["type"] == "array":
        return pa.list_(_arrow_type(kind["items"]))
    return pa.timestamp("ms", tz="UTC") if kind.get("logicalType") == "timestamp-millis" else plain[kind["type"]]


def _avro(schema: Any) -> Format:
    def write(path: Path, records: Sequence[Record]) -> None:
        with path.open("wb") as file:
            fastavro.writer(file, schema, records, sync_marker=SYNC)

    def join(path: Path, parts: Sequence[Path]) -> None:
        """One header, then every part's blocks as they are: all end in the same marker."""
        write(path, [])
        with path.open("ab") as file:
            for part in parts:
                content = part.read_bytes()
                file.write(content[read_header(content).size :])

    return Format(write, join)


def _write_lines(path: Path, records: Sequence[Record]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _join_lines(path: Path, parts: Sequence[Path]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part.read_bytes())


FORMATS: Final[Mapping[str, Format]] = {
    ".parquet": Format(_write_parquet, _join_parquet),
    ".avro": _avro(CLASSIFICATION),
    ".jsonl": Format(_write_lines, _join_lines),
    ".csv": Format(_write_csv, _join_csv),
}
DEAD_LETTERS: Final = _avro(DEAD_LETTER)
