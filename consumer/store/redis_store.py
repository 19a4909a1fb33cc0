"""Each object's sequence of latents in a Redis-protocol store: standalone, replicated or Cluster.

`latent:{encoder id}:{dtype}:{sequence key}`, dtype f4 or f2, is a hash, candid → packed entry, written with HSETNX: the
first latent of a candid stays, whatever a redelivery computes. What is kept of offsets: consumer/store/applied.py.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import structlog
from redis.exceptions import ReadOnlyError

from consumer import metrics
from consumer.configuration.settings import StoreSettings
from consumer.errors import StoreError
from consumer.message import Partition
from consumer.store.applied import AppliedOffsets, Note
from consumer.store.connection import Client, Node, StoreConnection, executed
from consumer.store.sequences import HistoryWindow, NewEntries, SequencePrefix, StoredSequence, damaged, entry_dtype

log = structlog.get_logger()

DAY_S: Final = 86_400
PROBE_S: Final = 1.0
SURPLUS_OBJECTS: Final = 100_000
"""Objects whose surplus is remembered until their next visit; those beyond are noticed again at the visit after."""

BEGUN: Final = b""
"""The field, no partition's name, that is written last of a group's start."""

SHOWN: Final = 20
"""Damaged entries that are named in the log, and letters of each name."""

REPLACE_DAMAGED: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
"""
"""Replace the damaged entry ARGV[2] by ARGV[3], unless another process has."""

OffsetReplies = tuple[Node, list[Note], list[tuple[int, bytes]]]
"""A server's replies to the offsets that were written to it."""


class RedisStore:
    """The store of one encoder's latents, for one consumer group.

    A batch takes one round trip, or one per node in a Cluster. Every method raises StoreError where the store does not
    answer for `store.timeout_s`, or refuses.
    """

    def __init__(self, settings: StoreSettings, encoder_id: str, latent: int, group: str = "") -> None:
        self._settings = settings
        self._dtype = entry_dtype(latent, settings.dtype)
        sequences = f"latent:{encoder_id}:{np.dtype(settings.dtype).str[1:]}"
        self._prefix = f"{sequences}:"
        self._group = group
        self._window = HistoryWindow(settings.max_history, settings.history_days)
        self._surplus: dict[str, list[int]] = {}
        self._servers = StoreConnection(settings)
        self._applied = AppliedOffsets(self._servers, group, sequences)
        self._probed: StoreConnection | None = None

    def remember(self, entries: NewEntries, offsets: Mapping[Partition, int]) -> list[SequencePrefix]:
        """Add entries, and return the sequence that ends in each: see `HistoryWindow.histories`.

        The offsets are stored with them: partition → the offset before which the store now holds everything.
        """
        rows_by_key = entries.rows_by_key()
        offset_replies, visits = self._servers.with_retry(lambda: self._round_trips(entries, rows_by_key, offsets))
        for node, notes, replies in offset_replies:
            self._applied.check(node, notes, replies)
        histories: dict[int, SequencePrefix] = {}
        for key, rows in rows_by_key.items():
            *added, fields, _ = visits[key]
            candids = [int(entries.candid[row]) for row in rows]
            try:
                held = StoredSequence.unpack(fields, self._dtype)
            except (ValueError, OverflowError):
                values = entries.packed(self._dtype)
                wrong = self._damaged(key, fields)
                held = self._repaired(key, fields, wrong, {entries.candid[row]: values[row] for row in rows})
                added = [new or b"%d" % candid in wrong for new, candid in zip(added, candids, strict=True)]
            histories |= zip(rows, self._window.histories(held, candids, added), strict=True)
            self._note_surplus(key, held)
        return [histories[row] for row in range(len(entries))]

    def sequence(self, key: str) -> StoredSequence:
        """The whole sequence of one object, oldest first; empty where it is unknown."""
        whole = self._prefix + key
        fields = self._servers.with_retry(lambda: self._servers.client_for_key(whole).hgetall(whole))
        try:
            return StoredSequence.unpack(fields, self._dtype)
        except (ValueError, OverflowError):
            wrong = self._damaged(key, fields)
            return StoredSequence.unpack(
                {name: value for name, value in fields.items() if name not in wrong}, self._dtype
            )

    def applied(self, partition: Partition) -> int | None:
        """The offset before which the store holds all of a partition; None where it holds nothing."""
        return self._applied.of(partition)

    def start(self) -> dict[Partition, int] | None:
        """Where the group began, of the partitions there were then; None where it has not begun."""
        key = f"start:{self._group}"
        fields = self._servers.with_retry(lambda: self._servers.client_for_key(key).hgetall(key))
        if BEGUN not in fields:
            return None
        places = [(field.decode().rpartition(":"), int(offset)) for field, offset in fields.items() if field != BEGUN]
        return {(topic, int(partition)): offset for (topic, _, partition), offset in places}

    def begin(self, offsets: dict[Partition, int]) -> None:
        """Keep where the group begins. Of members that begin at once, the first to name a partition decides."""
        key = f"start:{self._group}"

        def write() -> None:
            pipe = self._servers.client_for_key(key).pipeline(transaction=False)
            for (topic, partition), offset in offsets.items():
                pipe.hsetnx(key, f"{topic}:{partition}", offset)
            pipe.hset(key, BEGUN, 1)
            executed(pipe)

        self._servers.with_retry(write)

    def check(self) -> None:
        """Raise StoreError unless the store answers, takes writes and keeps what it is given."""
        self._check(self._servers)

    def answers(self) -> bool:
        """Whether the store answers now, within `PROBE_S`, on connections of its own."""
        try:
            if self._probed is None:
                self._probed = StoreConnection(self._settings.model_copy(update={"timeout_s": PROBE_S}))
            self._check(self._probed)
        except StoreError:
            return False
        return True

    def close(self) -> None:
        self._servers.close()
        if self._probed:
            self._probed.close()

    def nodes(self) -> list[Client]:
        """A connection to each server that holds data: one, or the primaries of a Cluster."""
        return [node.client for node in self._servers.nodes()]

    def _check(self, servers: StoreConnection) -> None:
        for facts in servers.with_retry(lambda: [_facts(node) for node in servers.nodes()]):
            if (policy := facts.get("maxmemory_policy")) != "noeviction":
                raise StoreError(
                    f"store {self._settings.address} evicts: its maxmemory-policy is {policy}; set noeviction"
                )

    def _round_trips(
        self, entries: NewEntries, rows_by_key: dict[str, list[int]], offsets: Mapping[Partition, int]
    ) -> tuple[list[OffsetReplies], dict[str, list[Any]]]:
        """One with each server. Replies of the offsets' script, and of each object's commands."""
        values = entries.packed(self._dtype)
        key_of = {self._prefix + key: key for key in rows_by_key}
        offset_replies: list[OffsetReplies] = []
        visits: dict[str, list[Any]] = {}
        for node in self._servers.nodes(key_of):
            rows_here = {key_of[name]: rows_by_key[key_of[name]] for name in node.keys}
            pipe = node.client.pipeline(transaction=False)
            trims = self._visit(pipe, entries, values, rows_here)
            # Last: a log that ends early then holds no offset without its entries.
            notes = self._applied.advance(pipe, node, offsets)
            replies = iter(executed(pipe)[trims:])
            visits |= {key: [next(replies) for _ in range(len(rows) + 2)] for key, rows in rows_here.items()}
            offset_replies.append((node, notes, list(replies)))
        for key in rows_by_key:
            self._surplus.pop(key, None)
        return offset_replies, visits

    def _visit(self, pipe: Any, entries: NewEntries, values: list[bytes], rows_by_key: Mapping[str, list[int]]) -> int:
        """Add the objects' commands to a server's pipeline, after so many as are returned that trim them."""
        trims = [(key, self._surplus[key]) for key in rows_by_key if key in self._surplus]
        for key, candids in trims:
            pipe.hdel(self._prefix + key, *candids)
        for key, rows in rows_by_key.items():
            for row in rows:
                pipe.hsetnx(self._prefix + key, str(entries.candid[row]), values[row])
            pipe.hgetall(self._prefix + key)
            pipe.expire(self._prefix + key, int(self._settings.expire_days * DAY_S))
        return len(trims)

    def _note_surplus(self, key: str, held: StoredSequence) -> None:
        """Entries past `max_history` go at the next visit, in its own pipeline."""
        surplus = held.candid[: -self._settings.max_history]
        if len(surplus) and len(self._surplus) < SURPLUS_OBJECTS:
            self._surplus[key] = [int(candid) for candid in surplus]

    def _damaged(self, key: str, fields: Mapping[bytes, bytes]) -> set[bytes]:
        """The candids of damaged entries, counted and logged."""
        wrong = damaged(fields, self._dtype)
        metrics.DAMAGED_ENTRIES.inc(len(wrong))
        names = [name.decode(errors="backslashreplace")[:SHOWN] for name in sorted(wrong)[:SHOWN]]
        log.warning("store_entries_damaged", key=self._prefix + key, entries=len(wrong), candids=names)
        return wrong

    def _repaired(
        self, key: str, fields: Mapping[bytes, bytes], wrong: set[bytes], ours: Mapping[np.int64, bytes]
    ) -> StoredSequence:
        """The sequence with damaged entries replaced by this batch's of that candid, or deleted; the store's too."""
        whole = self._prefix + key
        instead = dict.fromkeys(wrong) | {name: ours[candid] for candid in ours if (name := b"%d" % candid) in wrong}

        def replace_damaged() -> None:
            pipe = self._servers.client_for_key(whole).pipeline(transaction=False)
            for name, value in instead.items():
                pipe.execute_command("EVAL", REPLACE_DAMAGED, 1, whole, name, fields[name], value or b"")
            executed(pipe)

        self._servers.with_retry(replace_damaged)
        left = {**fields, **instead}
        return StoredSequence.unpack({name: value for name, value in left.items() if value is not None}, self._dtype)


def _facts(node: Node) -> dict[str, Any]:
    """The server's INFO. Raises ReadOnlyError of a replica, which may be about to become the primary: retried."""
    facts: dict[str, Any] = node.client.info()
    if facts.get("role") != "master":
        raise ReadOnlyError("it is a replica")
    return facts
