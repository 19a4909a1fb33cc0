"""`estampa audit`: what a night's topics held, against what came out of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

import structlog
from rich.console import Group, RenderableType
from rich.text import Text

from consumer import terminal
from consumer.cli.deadletters.reader import in_topic
from consumer.configuration.settings import Settings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.decoding.alert import Alert, read_alerts
from consumer.errors import BrokerError
from consumer.kafka.client import message_time_ms, subscribed_topics, topics_of_the_night
from consumer.kafka.published import Decoder
from consumer.kafka.reader import TopicReader
from consumer.message import Partition

log = structlog.get_logger()

MARGIN_MS: Final = 2 * 86_400_000
"""Outputs are read from so long before the night's first message: a repeat may have been classified last night."""
SHOWN: Final = 20


class AuditedRecord(NamedTuple):
    """One alert of the night. candid: None where it cannot be read."""

    topic: str
    partition: int
    offset: int
    record: int
    candid: int | None


@dataclass(slots=True)
class Night:
    """What the topics hold. first_ms: time of the earliest message; 0 where that of any is unknown.

    A night of two million alerts takes about a gigabyte here.
    """

    records: list[AuditedRecord] = field(default_factory=list)
    messages: int = 0
    first_ms: int | None = None

    def add(self, place: tuple[str, int, int], time_ms: int | None, outcomes: Iterable[object]) -> None:
        """One message, and what its packet gives."""
        self.messages += 1
        time_ms = time_ms or 0
        self.first_ms = time_ms if self.first_ms is None else min(time_ms, self.first_ms)
        for index, outcome in enumerate(outcomes):
            self.records.append(AuditedRecord(*place, index, outcome.candid if isinstance(outcome, Alert) else None))


@dataclass(slots=True)
class NightCounts:
    """What came out. published: records of each (candid, model id) of these topics. dead: place → reason.

    elsewhere: candids classified in other topics, where one that comes again here is a repeat; all of them in ALeRCE's
    shape, which does not name its topic.
    """

    published: Counter[tuple[int, str]] = field(default_factory=Counter)
    elsewhere: set[int] = field(default_factory=set)
    dead: dict[tuple[str, int, int, int], str] = field(default_factory=dict)


def topics_of(settings: Settings, night: date | None) -> list[str]:
    """The topics of one night, or else those that a consumer started now would want, in so far as they exist."""
    if night is not None:
        midnight = datetime(night.year, night.month, night.day, tzinfo=UTC)
        return topics_of_the_night(midnight, settings.kafka.programids, 0, 0)
    wanted = subscribed_topics(settings.kafka, datetime.now(UTC))
    if settings.kafka.topics:
        return wanted
    with closing(TopicReader(settings.kafka)) as scan:
        there = scan.topics()
    if found := [name for name in wanted if name in there]:
        return found
    raise BrokerError(f"none of {', '.join(wanted)} is at {settings.kafka.brokers}; give --night or --topic")


def audit(settings: Settings, topics: Sequence[str]) -> dict[str, Any]:
    """Compare the whole of `topics` with the output and dead-letter topics.

    An alert below the group's committed offset that was neither classified nor dead-lettered is missing; one above it
    is waiting. Raises BrokerError where the topics cannot be read or the group has read none of them.
    """
    with closing(TopicReader(settings.kafka)) as scan:
        committed = scan.committed(topics)
        night = _night(settings, scan, topics)
        if night.messages and not committed:
            group = settings.kafka.group
            raise BrokerError(f"group {group!r} has committed nothing of {', '.join(topics)}; check kafka.group")
        told = _told(settings, scan, topics, night.first_ms)
    letters = (one for _, one in in_topic(settings) if isinstance(one, DeadLetter))
    told.dead = {letter.place: str(letter.reason) for letter in letters if letter.place[0] in topics}
    return account(night, told, committed) | {"topics": list(topics)}


def account(night: Night, told: NightCounts, committed: Mapping[Partition, int]) -> dict[str, Any]:
    """The comparison as plain types: `held` = classified + dead letters + repeated + waiting + missing, in alerts.

    `missing` lists each with its place. `unknown`: candids published of these topics that they do not hold.
    """
    fates = Counter[str]()
    missing: list[dict[str, Any]] = []
    here = {candid for candid, _ in told.published}
    classified, seen, reasons = here | told.elsewhere, set[int](), Counter[str]()
    for record in night.records:
        fate = _fate(record, told, classified, seen, committed)
        fates[fate] += 1
        if fate == "dead_lettered":
            reasons[told.dead[record[:4]]] += 1
        elif fate == "missing":
            missing.append(record._asdict())
    held = {record.candid for record in night.records if record.candid is not None}
    names = ("classified", "repeated", "waiting")
    return {
        "messages": night.messages,
        "held": len(night.records),
        **{name: fates[name] for name in names},
        "dead_lettered": dict(reasons),
        "missing": missing,
        "unknown": sorted(here - held),
        "published": _by_model(told.published),
    }


def _fate(
    record: AuditedRecord, told: NightCounts, classified: set[int], seen: set[int], committed: Mapping[Partition, int]
) -> str:
    if record.candid in classified:
        repeated = record.candid in seen
        seen.add(record.candid)
        return "repeated" if repeated else "classified"
    if record[:4] in told.dead:
        return "dead_lettered"
    return "missing" if record.offset < committed.get(record[:2], 0) else "waiting"


def _by_model(published: Counter[tuple[int, str]]) -> dict[str, dict[str, int]]:
    """Of each model: its records, and how many of them repeat a candid."""
    rows: dict[str, dict[str, int]] = {}
    for (_, model_id), count in published.items():
        row = rows.setdefault(model_id, {"records": 0, "repeats": 0})
        row["records"] += count
        row["repeats"] += count - 1
    return rows


def _night(settings: Settings, scan: TopicReader, topics: Sequence[str]) -> Night:
    night = Night()
    for one in scan.messages(topics):
        place = str(one.topic()), int(one.partition() or 0), int(one.offset() or 0)
        night.add(place, message_time_ms(one), read_alerts(one.value(), settings.limits.packet_bytes))
    log.info("night_read", topics=list(topics), messages=night.messages, alerts=len(night.records))
    return night


def _told(settings: Settings, scan: TopicReader, topics: Sequence[str], first_ms: int | None) -> NightCounts:
    """What was published, without the dead letters."""
    since = None if first_ms is None else max(first_ms - MARGIN_MS, 0)
    decoder, told = Decoder(settings.output), NightCounts()
    for one in scan.messages([settings.output.topic], since):
        made = decoder.decode(one.value(), int(one.offset() or 0))
        if made.topic in topics:
            told.published[made.candid, made.model_id] += 1
        else:
            told.elsewhere.add(made.candid)
    return told


def audit_table(found: dict[str, Any]) -> RenderableType:
    """An audit as a person likes to read it."""
    made = terminal.table(f"audit of {', '.join(found['topics'])}", ["", ""], _rows(found), header=False)
    return Group(made, *map(Text, _missing_lines(found["missing"])))


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "held", f"{found['held']:,} alerts in {found['messages']:,} messages"
    yield "classified", f"{found['classified']:,}"
    for reason, count in sorted(found["dead_lettered"].items()):
        yield f"dead letter: {reason}", f"{count:,}"
    yield "repeated in the topic", f"{found['repeated']:,}"
    yield "waiting to be read", f"{found['waiting']:,}"
    yield "missing", f"{len(found['missing']):,}"
    for model_id, row in found["published"].items():
        yield f"records of model {model_id}", f"{row['records']:,}, {row['repeats']:,} of them repeats"
    if found["unknown"]:
        yield "published, but not held", f"{len(found['unknown']):,} candids: the topic may have expired in part"


def _missing_lines(missing: Sequence[dict[str, Any]]) -> Iterator[str]:
    for one in missing[:SHOWN]:
        yield f"missing: candid {one['candid']} at {one['topic']} [{one['partition']}] {one['offset']}"
    if len(missing) > SHOWN:
        yield f"and {len(missing) - SHOWN:,} more; --summary FILE.json has them all"
