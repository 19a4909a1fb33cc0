"""The account of a run: what came in, what came out, how fast. In = out, or it says so."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import structlog
from rich.console import Group, RenderableType
from rich.table import Table

from consumer import terminal
from consumer.errors import NothingClassified, UnaccountedAlerts
from consumer.results import ModelInfo, Results
from consumer.terminal import TableColumn

log = structlog.get_logger()

LOG_EVERY_S: Final = 60.0
LOG_FIRST_S: Final = 5.0
"""Whoever has just started it is watching."""


@dataclass(slots=True)
class Counts:
    """Counts, in alerts. classes: of what was classified, by most probable class. dead_lettered: by reason."""

    read: int = 0
    duplicates: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    dead_lettered: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, counts: dict[str, Any]) -> Self:
        """What `counts` gave."""
        classes, dead = Counter(counts["classes"]), Counter(counts["dead_lettered"])
        return cls(counts["read"], counts["duplicates"], classes, dead)

    @property
    def classified(self) -> int:
        return self.classes.total()

    def add(self, results: Results) -> None:
        """Note a finished batch."""
        self.read += results.read
        self.duplicates += results.duplicates
        self.classes.update(one.class_ for one in results.classifications)
        self.dead_lettered.update(str(one.reason) for one in results.dead_letters)

    def join(self, other: Self) -> None:
        """Add what another process counted."""
        self.read += other.read
        self.duplicates += other.duplicates
        self.classes.update(other.classes)
        self.dead_lettered.update(other.dead_lettered)

    def counts(self) -> dict[str, Any]:
        """Plain types, to write down."""
        return {
            "read": self.read,
            "classified": self.classified,
            "duplicates": self.duplicates,
            "dead_lettered": dict(self.dead_lettered),
            "classes": dict(self.classes),
        }

    def check(self) -> None:
        """Raise AccountError unless all that was read came out."""
        out = self.classified + self.duplicates + self.dead_lettered.total()
        if self.read != out:
            raise UnaccountedAlerts(
                f"{self.read} alerts were read and {out} came out ({self.classified} classified, {self.duplicates} "
                f"repeated, {self.dead_lettered.total()} dead letters): please report this with the input"
            )


@dataclass(slots=True)
class RunReport:
    """A run's account, with its pace. latency: milliseconds, a sample of bounded size for the percentiles."""

    model: ModelInfo
    device: str
    account: Counts = field(default_factory=Counts)
    latency: "Reservoir" = field(default_factory=lambda: Reservoir(100_000))
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    read_before: int = 0
    logged: float = field(default_factory=lambda: time.monotonic() - LOG_EVERY_S + LOG_FIRST_S)

    def carry(self, counts: dict[str, Any]) -> None:
        """Go on from the counts of the run that this one resumes."""
        self.account = Counts.of(counts)
        self.read_before = self.account.read

    def add(self, results: Results, batch_ms: float) -> None:
        """Note a finished batch: latency ends now. An alert without a Kafka time is given the batch's, `batch_ms`."""
        self.account.add(results)
        now_ms = time.time_ns() // 1_000_000
        for made in results.classifications:
            latency_ms = made.latency_ms(now_ms)
            self.latency.add(batch_ms if latency_ms is None else latency_ms)
        self.seconds = time.monotonic() - self.started

    def join(self, other: Self) -> None:
        """Add the account of a process that ran beside this one."""
        self.account.join(other.account)
        self.latency.join(other.latency)
        self.seconds = max(self.seconds, other.seconds)
        self.read_before += other.read_before

    def log_progress(self) -> None:
        """Log where the run stands: after five seconds, then once a minute."""
        if time.monotonic() - self.logged >= LOG_EVERY_S:
            self.logged = time.monotonic()
            log.info("progress", **self.account.counts())

    def summary(self) -> dict[str, Any]:
        """Plain types, for `--summary`. Seconds and pace are this run's; the counts include what it resumed."""
        read_now = self.account.read - self.read_before
        return self.account.counts() | {
            "seconds": round(self.seconds, 3),
            "alerts_per_second": round(read_now / self.seconds, 1) if self.seconds else 0.0,
            "latency_ms": {f"p{q}": self.latency.percentile(q) for q in (50, 95, 99)},
            "model": self.model.model_name,
            "model_id": self.model.model_id,
            "encoder_id": self.model.encoder_id,
            "device": self.device,
        }


class Reservoir:
    """A uniform sample of a stream of numbers, of bounded size (Vitter 1985, algorithm R)."""

    def __init__(self, size: int) -> None:
        self._values = np.zeros(size)
        self._seen = 0
        self._random = np.random.default_rng(0)

    def add(self, value: float) -> None:
        place = self._seen if self._seen < len(self._values) else int(self._random.integers(self._seen + 1))
        if place < len(self._values):
            self._values[place] = value
        self._seen += 1

    def join(self, other: Self) -> None:
        """Take in another's sample: both are uniform, and of streams of like length."""
        self._values = np.concatenate([self._values[: self._seen], other._values[: other._seen]])
        self._seen = len(self._values)

    def percentile(self, q: float) -> float | None:
        """None where nothing was seen."""
        values = self._values[: self._seen]
        return round(float(np.percentile(values, q)), 3) if len(values) else None


def report_table(summary: dict[str, Any], title: str) -> RenderableType:
    """A run's summary as a person likes to read it."""
    tables = [
        _counts(f"{title}: classified as", summary["classes"], summary["classified"]),
        _counts("dead letters", summary["dead_lettered"], sum(summary["dead_lettered"].values())),
    ]
    latency = summary["latency_ms"]
    shown = " · ".join(f"{name} {value:,.0f}" for name, value in latency.items() if value is not None)
    dead = sum(summary["dead_lettered"].values())
    rows = {
        "in = out": f"{summary['read']:,} = {summary['classified']:,} classified + {summary['duplicates']:,} repeated"
        f" + {dead:,} dead letters",
        "throughput": f"{summary['alerts_per_second']:,.0f} alerts/s over {summary['seconds']:,.1f} s",
        "latency, ms": shown or "none measured",
        "model": f"{summary['model']} ({summary['model_id']}) on {summary['device']}",
    }
    return Group(*tables, terminal.table("the run", ["", ""], rows.items(), header=False))


def _counts(title: str, counts: dict[str, int], total: int) -> Table:
    columns = [
        TableColumn("", footer="total"),
        TableColumn("alerts", "right", f"{total:,}"),
        TableColumn("share", "right"),
    ]
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in ordered]
    return terminal.table(title, columns, rows, footer=True)


def check_classified(account: dict[str, Any], kept: str) -> None:
    """Raise NothingClassified where a run read alerts and all of them are dead letters. kept: where those are."""
    if account["read"] and not account["classified"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(account["dead_lettered"].items()))
        raise NothingClassified(
            f"none of {account['read']:,} alerts was classified ({reasons}); the dead letters are {kept}"
        )
