"""File formats of a replay's results: how records are written, and how parts become one file."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from consumer.decoding.container import read_header
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
    pq.write_table(pa.Table.from_pylist(records, schema=_arrow_schema()), path)


def _join_parquet(path: Path, parts: Sequence[Path]) -> None:
    with pq.ParquetWriter(path, _arrow_schema()) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=_arrow_schema()))


def _arrow_schema() -> pa.Schema:
    """The classification's Avro schema in Arrow's types."""
    return pa.schema([(field["name"], _arrow_type(field["type"])) for field in CLASSIFICATION["fields"]])


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
}
DEAD_LETTERS: Final = _avro(DEAD_LETTER)
