"""`estampa doctor`: what is wrong with what estampa leans on, and what to do about each."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import torch
from redis.exceptions import RedisError
from rich.console import RenderableType
from rich.text import Text

from consumer import terminal
from consumer.cli.runtime import load_checkpoint, load_inference
from consumer.configuration.settings import Settings
from consumer.embedded import LISTPACK_BYTES
from consumer.errors import EstampaError
from consumer.inference.models import choose_device
from consumer.kafka.client import subscribed_topics
from consumer.kafka.reader import TopicReader
from consumer.store.redis_store import RedisStore
from model_zoo.errors import CheckpointError

CLOCK_S: Final = 2.0
NIGHT_BYTES: Final = 512 * 2**20
"""A replayed night of a million alerts: 200 bytes each, there twice while its parts are joined."""
SCRATCH_BYTES: Final = 64 * 2**20
"""All that the service writes: its compiled kernels, a MiB or two, and what libraries leave beside them."""
MEMORY_SHARE: Final = 0.8
SECTIONS: Final = {"broker": "kafka", "device": "model", "state": "store"}
"""Subject → section of the configuration, where it has another name."""

MARKS: Final = {"ok": ("ok", "green"), "warn": ("look", "yellow"), "fail": ("wrong", "red")}
"""State → the word shown for it, and its colour."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. state: ok, warn (it runs, but look) or fail. mend: what to do, empty where all is well."""

    subject: str
    state: str
    found: str
    mend: str = ""


def examine(settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[Finding]:
    """Look at model, device, disk, broker with its topics and group, store with its clock, and at all together."""
    model = [*_model(settings), *_device(settings)]
    servers = _guarded("broker", lambda: _broker(settings, now())) + _guarded("store", lambda: _store(settings))
    failed = {one.subject for one in (*model, *servers) if one.state == "fail"}
    batches = [] if failed & {"model", "device"} else _batches(settings)
    state = [] if failed & {"model", "broker", "store"} else _guarded("state", lambda: _state(settings, now()))
    return [*model, *batches, *_disk(), *servers, *state]


def _guarded(subject: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What was found until something failed, and that as the last finding: its message carries the mend."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except RedisError as error:
        found.append(Finding(subject, "fail", str(error), "check the rights of our user: INFO, TIME, CONFIG GET"))
    except (EstampaError, CheckpointError) as error:
        said, _, mend = str(error).rpartition("; ")
        look_at = f"check the settings under [{SECTIONS.get(subject, subject)}]"
        found.append(Finding(subject, "fail", said or mend, mend if said else look_at))
    return found


def _model(settings: Settings) -> list[Finding]:
    def look() -> Iterator[Finding]:
        made = load_checkpoint(settings.model)
        yield Finding("model", "ok", f"{made.name}: model {made.model_id}, encoder {made.encoder_id}")

    return _guarded("model", look)


def _device(settings: Settings) -> list[Finding]:
    def look() -> Iterator[Finding]:
        device = choose_device(settings.model.device)
        cores = os.cpu_count() or 1
        if device.type == "cpu":
            threads = settings.model.threads or cores
            crowded = threads > cores
            mend = f"set model.threads to {cores} divided by the processes of this machine" if crowded else ""
            yield Finding("device", "warn" if crowded else "ok", f"cpu, {threads} threads on {cores} cores", mend)
        else:
            free, total = torch.cuda.mem_get_info(device)
            yield Finding("device", "ok", f"{device}: {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")

    return _guarded("device", look)


def _batches(settings: Settings) -> list[Finding]:
    """Whether alerts may go through the encoder together on this processor: see `consumer.inference.batching`."""

    def look() -> Iterator[Finding]:
        inference = load_inference(settings.model)
        if inference.batched:
            yield Finding("batches", "ok", f"up to {inference.shapes[0]} alerts at once, each answered as if alone")
        else:
            found = "one alert at a time: on this processor an answer would depend on the alerts beside it"
            yield Finding("batches", "warn", found, "expect half the speed; another version of torch may cure it")

    return _guarded("batches", look)


def _disk() -> list[Finding]:
    """The folder we are in, for a replay's results, and the one for temporary files: in a container both are one."""
    findings = []
    for folder, wanted in {Path.cwd(): NIGHT_BYTES, Path(tempfile.gettempdir()): SCRATCH_BYTES}.items():
        free = shutil.disk_usage(folder).free
        low = free < wanted
        mend = f"make room for {wanted / 2**20:.0f} MiB, or replay to another disk" if low else ""
        findings.append(Finding("disk", "warn" if low else "ok", f"{folder}: {free / 2**20:.0f} MiB free", mend))
    return findings


def _broker(settings: Settings, now: datetime) -> Iterator[Finding]:
    kafka, output = settings.kafka, settings.output
    with closing(TopicReader(kafka)) as scan:
        there = scan.topics()
        yield Finding("broker", "ok", f"{kafka.brokers} shows {len(there)} topics")
        wanted = subscribed_topics(kafka, now)
        present = [name for name in wanted if name in there]
        yield _inputs(wanted, present)
        for key, name in (("topic", output.topic), ("dead_letter_topic", output.dead_letter_topic)):
            yield _output(key, name, exists=name in there)
        yield _group(kafka.group, scan, present)


def _inputs(wanted: Sequence[str], present: Sequence[str]) -> Finding:
    missing = [name for name in wanted if name not in present]
    if not missing:
        return Finding("topics", "ok", f"all here: {', '.join(present)}")
    nights = "a night's topic appears with its first alert; if it should be there, check kafka.topics and your access"
    return Finding("topics", "warn", f"{len(present)} of {len(wanted)} here; not {', '.join(missing)}", nights)


def _output(key: str, name: str, *, exists: bool) -> Finding:
    if exists:
        return Finding(f"output.{key}", "ok", f"{name} exists")
    mend = f"create it, with max.message.bytes over limits.packet_bytes, or set output.{key}"
    return Finding(f"output.{key}", "fail", f"{name} does not exist", mend)


def _group(group: str, scan: TopicReader, present: Sequence[str]) -> Finding:
    committed = scan.committed(present) if present else {}
    if not committed:
        return Finding(
            "group",
            "warn",
            f"{group!r} has committed nothing of these topics",
            "nothing at the first start; check kafka.group at a later one",
        )
    return Finding(
        "group", "ok", f"{group!r} has committed {sum(committed.values())} messages in {len(committed)} places"
    )


def _store(settings: Settings) -> Iterator[Finding]:
    with closing(RedisStore(settings.store, "doctor", 1, settings.kafka.group)) as store:
        store.check()
        yield Finding("store", "ok", f"{settings.store.address} answers and evicts nothing")
        for node in store.nodes():
            yield from _node(node)
            yield _clock(node.time)


def _node(node: object) -> Iterator[Finding]:
    facts = node.info()  # type: ignore[attr-defined]
    used, limit = facts["used_memory"], facts.get("maxmemory", 0)
    if not limit:
        yield Finding("store memory", "warn", f"{used / 2**20:.0f} MiB, no limit", "set maxmemory below the machine's")
    else:
        full = used > MEMORY_SHARE * limit
        mend = "add memory or shards, or lower store.max_history or store.expire_days" if full else ""
        found = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB"
        yield Finding("store memory", "warn" if full else "ok", found, mend)
    kept = bool(facts.get("aof_enabled"))
    mend = "" if kept else "set appendonly yes: without it a restart refills from Kafka"
    yield Finding("store log", "ok" if kept else "warn", f"append-only file {'on' if kept else 'off'}", mend)
    yield from _listpack(node)


def _listpack(node: object) -> Iterator[Finding]:
    name = "hash-max-listpack-value"
    value = int(node.config_get(name).get(name, LISTPACK_BYTES))  # type: ignore[attr-defined]
    if value < LISTPACK_BYTES:
        mend = f"set {name} {LISTPACK_BYTES}: an alert then takes half the memory"
        yield Finding("store layout", "warn", f"{name} is {value}", mend)


def _clock(ask: Callable[[], tuple[int, int]]) -> Finding:
    """The store's clock against ours, before and after: latencies, and the topics of the night, follow ours."""
    before, (seconds, microseconds), after = time.time(), ask(), time.time()
    told = seconds + microseconds / 1e6
    apart = max(before - told, told - after, 0.0)
    if apart <= CLOCK_S:
        return Finding("clock", "ok", f"{apart:.2f} s from the store's")
    return Finding("clock", "fail", f"{apart:.0f} s from the store's", "run a time service on both machines")


def _state(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Whether the store holds what the group committed, for the configured model: see `store.on_data_loss`."""
    encoder_id = load_checkpoint(settings.model).encoder_id
    with closing(TopicReader(settings.kafka)) as scan:
        there = scan.topics()
        topics = [name for name in subscribed_topics(settings.kafka, now) if name in there]
        committed = scan.committed(topics) if topics else {}
    with closing(RedisStore(settings.store, encoder_id, 1, settings.kafka.group)) as store:
        behind = {place: held for place, offset in committed.items() if (held := store.applied(place) or 0) < offset}
    for (topic, partition), held in behind.items():
        found = f"the store holds {topic} [{partition}] up to {held}; {committed[topic, partition]} is committed"
        mend = "the next start refills it from Kafka, or run `estampa replay --state-only`"
        yield Finding("state", "warn", found, mend)
    if committed and not behind:
        yield Finding("state", "ok", "the store holds all that the group committed")


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    """One row a finding."""
    rows = [(one.subject, Text(*MARKS[one.state]), one.found, one.mend) for one in findings]
    return terminal.table("doctor", ["subject", "", "found", "what to do"], rows)
