"""Each object's sequence of latents in a Redis-protocol store: standalone, replicated or Cluster.

`latent:{encoder id}:{dtype}:{sequence key}`, dtype f4 or f2, is a hash, candid → packed entry, written with HSETNX: the
first latent of a candid stays, whatever a redelivery computes. `applied:{group}:{topic}` is a hash, partition → offset
before which the store holds everything of that partition.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import AuthenticationError, NoPermissionError, RedisClusterException, RedisError
from redis.retry import Retry
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from consumer.errors import StoreError
from consumer.history import Entries, Held, History, Window, entry_dtype
from consumer.message import Partition
from consumer.settings import StoreSettings

T = TypeVar("T")
Client = Any
"""`redis.Redis` or `RedisCluster`: one command set, two unrelated classes."""

DAY_S: Final = 86_400
SOCKET_TIMEOUT_S: Final = 10.0
CONNECT_S: Final = 5.0
"""Patience at the start, where a wrong address is likelier than a store that restarts."""
SURPLUS_OBJECTS: Final = 100_000
"""Objects whose surplus is remembered until their next visit; those beyond are noticed again at the visit after."""

ADVANCE: Final = """
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-1')
if held < tonumber(ARGV[2]) then return held end
local now = math.max(held, tonumber(ARGV[3]))
if now > held then redis.call('HSET', KEYS[1], ARGV[1], now) end
return now
"""
"""Move a partition's applied offset forward to ARGV[3], unless it fell behind ARGV[2], which we had written: then the
store lost writes. One script, so that no crash between reading and writing can hide the loss. math.max keeps integers
up to 2^53 whole."""

BEGUN: Final = b""
"""The field, no partition's name, that is written last of a group's start."""

UNREACHABLE: Final = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError)
REFUSED: Final = (AuthenticationError, NoPermissionError)


class RedisStore:
    """The store of one encoder's latents, for one consumer group.

    A batch takes one round trip, or one per node in a Cluster. Every method raises StoreError when the store stays
    away for `patience_s`, or refuses.
    """

    def __init__(self, settings: StoreSettings, encoder_id: str, latent: int, group: str = "") -> None:
        self._settings = settings
        self._dtype = entry_dtype(latent, settings.dtype)
        self._prefix = f"latent:{encoder_id}:{np.dtype(settings.dtype).str[1:]}:"
        self._group = group
        self._window = Window(settings.max_history, settings.history_days)
        self._surplus: dict[str, list[int]] = {}
        self._written: dict[Partition, int] = {}
        self._client = self._patiently(lambda: _connect(settings), min(settings.patience_s, CONNECT_S))

    def remember(self, entries: Entries, offsets: Mapping[Partition, int]) -> list[History]:
        """Add the entries, and return what each is to be judged on: see `Window.histories`.

        `offsets` are kept with them: partition → the offset before which all is now held.
        """
        rows_by_key = entries.rows_by_key()
        applied, visits = self._patiently(lambda: self._round_trip(entries, rows_by_key, offsets))
        self._check_applied(offsets, applied)
        histories: dict[int, History] = {}
        for (key, rows), visit in zip(rows_by_key.items(), visits, strict=True):
            *added, fields, _ = visit
            held = self._unpack(key, fields)
            candids = [int(entries.candid[row]) for row in rows]
            histories |= zip(rows, self._window.histories(held, candids, added), strict=True)
            self._note_surplus(key, held)
        return [histories[row] for row in range(len(entries))]

    def sequence(self, key: str) -> Held:
        """All that is held of one object, oldest first; empty where it is unknown."""
        fields = self._patiently(lambda: self._client.hgetall(self._prefix + key))
        return self._unpack(key, fields)

    def applied(self, partition: Partition) -> int | None:
        """The offset before which all of a partition is held; None where nothing is. Forgets what we wrote of it."""
        self._written.pop(partition, None)
        value = self._patiently(lambda: self._client.hget(self._applied_key(partition[0]), str(partition[1])))
        return None if value is None else int(value)

    def start(self) -> dict[Partition, int] | None:
        """Where the group began, of the partitions there were then; None where it has not begun."""
        fields = self._patiently(lambda: self._client.hgetall(self._start_key))
        if BEGUN not in fields:
            return None
        places = [(field.decode().rpartition(":"), int(offset)) for field, offset in fields.items() if field != BEGUN]
        return {(topic, int(partition)): offset for (topic, _, partition), offset in places}

    def begin(self, offsets: dict[Partition, int]) -> None:
        """Keep where the group begins. Of members that begin at once, the first to name a partition decides."""

        def write() -> None:
            pipe = self._client.pipeline(transaction=False)
            for (topic, partition), offset in offsets.items():
                pipe.hsetnx(self._start_key, f"{topic}:{partition}", offset)
            pipe.hset(self._start_key, BEGUN, 1)
            pipe.execute()

        self._patiently(write)

    def check(self) -> None:
        """Raise StoreError unless the store answers and keeps what it is given."""
        for node in self._patiently(self.nodes):
            policy = node.info("memory").get("maxmemory_policy")
            if policy != "noeviction":
                raise StoreError(
                    f"store {self._settings.address} evicts: its maxmemory-policy is {policy}; set noeviction"
                )

    def answers(self) -> bool:
        """Whether the store answers now, without patience."""
        try:
            self.check()
        except (RedisError, StoreError, OSError):
            return False
        return True

    def close(self) -> None:
        self._client.close()

    def nodes(self) -> list[Client]:
        """A connection to each server that holds data: one, or the primaries of a Cluster."""
        if not self._settings.cluster:
            return [self._client]
        return [self._client.get_redis_connection(node) for node in self._client.get_primaries()]

    def _round_trip(
        self, entries: Entries, rows_by_key: dict[str, list[int]], offsets: Mapping[Partition, int]
    ) -> tuple[list[int], list[list[Any]]]:
        """Replies of the offsets' script, and of each object's commands."""
        values = entries.packed(self._dtype)
        trims = [(key, self._surplus[key]) for key in rows_by_key if key in self._surplus]
        pipe = self._client.pipeline(transaction=False)
        for key, candids in trims:
            pipe.hdel(self._prefix + key, *candids)
        for key, rows in rows_by_key.items():
            for row in rows:
                pipe.hsetnx(self._prefix + key, str(entries.candid[row]), values[row])
            pipe.hgetall(self._prefix + key)
            pipe.expire(self._prefix + key, int(self._settings.expire_days * DAY_S))
        # Last: a log that ends early then holds no offset without its entries.
        for (topic, partition), offset in offsets.items():
            written = self._written.get((topic, partition), -1)
            pipe.execute_command("EVAL", ADVANCE, 1, self._applied_key(topic), partition, written, offset)
        replies = pipe.execute()[len(trims) :]
        for key, _ in trims:
            del self._surplus[key]
        rest = iter(replies)
        visits = [[next(rest) for _ in range(len(rows) + 2)] for rows in rows_by_key.values()]
        return list(rest), visits

    def _check_applied(self, offsets: Mapping[Partition, int], replies: list[int]) -> None:
        for partition, held in zip(offsets, replies, strict=True):
            written = self._written.get(partition, -1)
            if held < written:
                place = f"{partition[0]} [{partition[1]}]"
                raise StoreError(
                    f"store lost writes: it holds {place} up to {held}, not {written}; restart to refill it"
                )
            self._written[partition] = held

    def _note_surplus(self, key: str, held: Held) -> None:
        """Entries past `max_history` go at the next visit, in its own pipeline."""
        surplus = held.candid[: -self._settings.max_history]
        if len(surplus) and len(self._surplus) < SURPLUS_OBJECTS:
            self._surplus[key] = [int(candid) for candid in surplus]

    def _unpack(self, key: str, fields: dict[bytes, bytes]) -> Held:
        try:
            return Held.unpack(fields, self._dtype)
        except ValueError as error:
            raise StoreError(f"store key {self._prefix + key} is not estampa's: {error}; delete it") from error

    def _applied_key(self, topic: str) -> str:
        return f"applied:{self._group}:{topic}"

    @property
    def _start_key(self) -> str:
        return f"start:{self._group}"

    def _patiently(self, ask: Callable[[], T], patience_s: float | None = None) -> T:
        """Ask, and ask again while the store cannot be reached: every command here may be repeated."""
        patience_s = patience_s or self._settings.patience_s
        attempts = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_delay(patience_s),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            reraise=True,
        )
        try:
            return attempts(ask)
        except (RedisError, RedisClusterException, OSError) as error:
            raise StoreError(_explained(error, self._settings)) from error


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, UNREACHABLE) and not isinstance(error, REFUSED)


def _connect(settings: StoreSettings) -> Client:
    password = settings.password.get_secret_value() if settings.password else None
    options: dict[str, Any] = {"socket_timeout": SOCKET_TIMEOUT_S, "socket_connect_timeout": SOCKET_TIMEOUT_S}
    if password is not None:
        options["password"] = password
    url = settings.url.get_secret_value()
    if settings.cluster:
        return RedisCluster.from_url(url, **options)
    client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
    client.ping()
    return client


def _explained(error: Exception, settings: StoreSettings) -> str:
    where = settings.address
    if isinstance(error, REFUSED):
        return f"store {where} refuses us: {error}; check store.url, store.password and the server's ACL"
    if isinstance(error, UNREACHABLE):
        return f"store {where} does not answer: {error}; is it up, is store.url right?"
    return f"store {where} refused a command: {error}"
