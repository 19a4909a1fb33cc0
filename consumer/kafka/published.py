"""Classifications read back from their topic, in each record format and encoding."""

import json
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import fastavro

from consumer.configuration.settings import OutputSettings
from consumer.decoding.container import read_blocks, read_header
from consumer.errors import BadAlert, BrokerError
from schemas import load_schema

SCHEMAS: Final = {"estampa": "classification/1/classification", "alerce": "classification/1/alerce"}
"""`output.record_format` → the schema it is published by."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where a published record comes from. topic: None in ALeRCE's format, which does not carry it."""

    candid: int
    model_id: str
    topic: str | None


class Decoder:
    """Message → record: by the schema in its container, or by the configured one where it has none."""

    def __init__(self, output: OutputSettings) -> None:
        self._schema: Any = fastavro.parse_schema(_plain(load_schema(SCHEMAS[output.record_format])))
        self._topic = output.topic

    def decode(self, payload: bytes | None, offset: int) -> Published:
        """Raises BrokerError, with the message's place, where the message is no classification."""
        try:
            record = self._record(payload or b"")
            if "classifier_version" in record:
                return Published(record["candid"], record["classifier_version"], None)
            return Published(record["candid"], record["model_id"], record["topic"])
        except (BadAlert, KeyError, ValueError, TypeError, EOFError, StopIteration, RecursionError) as error:
            place = f"message {offset} of {self._topic}"
            raise BrokerError(
                f"{place} is no classification ({error}); check output.topic and output.avro_encoding"
            ) from error

    def _record(self, payload: bytes) -> dict[str, Any]:
        if not payload.startswith(b"Obj\x01"):
            return dict(fastavro.schemaless_reader(BytesIO(payload), self._schema))  # type: ignore[arg-type]
        header = read_header(payload)
        block = next(read_blocks(payload, header))
        return dict(fastavro.schemaless_reader(BytesIO(block.data), _parsed(header.schema)))  # type: ignore[arg-type]


@lru_cache(maxsize=16)
def _parsed(schema: bytes) -> Any:
    return fastavro.parse_schema(_plain(json.loads(schema)))


def _plain(schema: Any) -> Any:
    """The schema without logical types: a time that no calendar has is read as its number."""
    if isinstance(schema, dict):
        return {name: _plain(value) for name, value in schema.items() if name != "logicalType"}
    return [_plain(one) for one in schema] if isinstance(schema, list) else schema
