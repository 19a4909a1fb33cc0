"""Avro schemas, filed by name and version."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def load_schema(name: str) -> Any:
    """The schema filed as `name`, e.g. "classification/1/classification", as parsed JSON."""
    return json.loads((FOLDER / f"{name}.avsc").read_text(encoding="utf-8"))
