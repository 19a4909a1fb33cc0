"""`make bench`: every figure of README's table, side by side in one run. Needs the real alerts: see CONTRIBUTING."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from prometheus_client import REGISTRY
from rich.console import Console
from rich.table import Table

from consumer.cli.runtime import load_inference, with_store
from consumer.configuration.load import load_settings
from consumer.configuration.settings import KafkaSettings
from consumer.embedded import local_broker, local_store
from tests.bench import members, night, stages, whole
from tests.conftest import ROOT

FOLDER = Path(os.environ.get("ESTAMPA_REAL_ALERTS", ROOT.parent / "shared" / "data" / "ztf"))
RESULTS = Path(__file__).parent / "results.json"
HISTORY = Path(__file__).parent / "history.jsonl"


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if not FOLDER.is_dir():
        sys.exit(f"no real alerts in {FOLDER}; name their folder by ESTAMPA_REAL_ALERTS")
    packets = night.usual_packets(FOLDER)
    settings = load_settings()
    inference = load_inference(settings.model)
    rows: list[whole.Row] = stages.decode_rows(packets, inference.checkpoint.preprocessing)
    rows.append(stages.encoder_row(inference))
    with local_broker() as broker, local_store() as store, tempfile.TemporaryDirectory() as folder:
        kafka = KafkaSettings(brokers=broker, session_timeout_ms=2_000)
        here = with_store(settings, store).model_copy(update={"kafka": kafka})
        wanted: list[Callable[[], list[whole.Row]]] = [
            lambda: whole.file_rows(here, inference, packets, Path(folder)),
            lambda: whole.kafka_rows(here, inference, packets),
            lambda: members.members_rows(here, packets),
            lambda: whole.length_rows(here, inference, packets),
            lambda: whole.memory_rows(here, inference, packets),
            lambda: start_rows(store, broker),
        ]
        for measure in wanted:
            rows += measure()
    tell(rows)


def start_rows(store: str, broker: str) -> list[whole.Row]:
    """Seconds from the command to its subscription, with compiled kernels and without."""

    def start(cache: str | None) -> float:
        env = dict(os.environ) | {"ESTAMPA__STORE__URL": store, "ESTAMPA__KAFKA__BROKERS": broker}
        env |= {"ESTAMPA__MONITOR__ENABLED": "false", "ESTAMPA__LOG__FORMAT": "json"}
        env |= {"NUMBA_CACHE_DIR": cache} if cache else {}
        began = time.monotonic()
        command = [sys.executable, "-m", "consumer", "consume"]
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            for line in process.stderr:
                if '"subscribed"' in line:
                    break
            took = time.monotonic() - began
            process.terminate()
        return took

    with tempfile.TemporaryDirectory() as empty:
        cold = start(empty)
    return [
        {"what": "start, caches warm", "unit": "s", "value": start(None), "target": "≤ 5"},
        {"what": "start, caches cold", "unit": "s", "value": cold, "target": "≤ 20"},
    ]


def tell(rows: list[whole.Row]) -> None:
    """Print the table and where the time went; write both, and a line of history."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    run = {"commit": commit.stdout.strip(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine, "rows": rows}
    run["stages_us"] = shares()
    RESULTS.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with HISTORY.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run, ensure_ascii=False) + "\n")
    table = Table("what", "measured", "target")
    for row in rows:
        table.add_row(str(row["what"]), f"{row['value']:,.4g} {row['unit']}", str(row.get("target", "")))
    Console().print(table, f"µs an alert, by stage: {run['stages_us']}", sep="\n")


def shares() -> dict[str, float]:
    """Microseconds an alert that each stage took, over all that this process classified."""
    alerts = REGISTRY.get_sample_value("estampa_consumed_total") or 1.0
    names = ("decode", "wait", "encode", "remember", "classify", "publish", "commit")
    seconds = {name: REGISTRY.get_sample_value("estampa_stage_seconds_sum", {"stage": name}) for name in names}
    return {name: round(1e6 * (value or 0.0) / alerts, 1) for name, value in seconds.items()}


if __name__ == "__main__":
    main()
