"""A simulated night shared by the tests, decoded by readers that are not ours."""

import io
import tarfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest

from train.simulation.nights.night import NightRequest, write_night
from train.simulation.nights.sink import TarSink

DAY = date(2026, 1, 1)


@dataclass(frozen=True)
class MadeNight:
    """A night as written: names and bytes of its packets, its records (None where corrupt), its truth rows."""

    archive: Path
    names: list[str]
    payloads: list[bytes]
    truth: list[dict[str, Any]]

    def records(self) -> list[dict[str, Any]]:
        return [next(fastavro.reader(io.BytesIO(payload))) for payload in self.payloads]


def make_night(folder: Path, processes: int = 1, **request: Any) -> MadeNight:
    archive, table = folder / "night.tar.gz", folder / "night.truth.parquet"
    write_night(NightRequest(DAY, **request), TarSink(archive), table, processes)
    with tarfile.open(archive) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    return MadeNight(archive, [m[0] for m in members], [m[1] for m in members], pq.read_table(table).to_pylist())


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> MadeNight:
    return make_night(tmp_path_factory.mktemp("night"), alerts=500, seed=3)
