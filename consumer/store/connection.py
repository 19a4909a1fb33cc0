"""Connections to the store's servers, one or a Cluster's primaries, and how failed requests are repeated."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.retry import Retry
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from consumer.configuration.settings import StoreSettings
from consumer.errors import StoreError

T = TypeVar("T")
Client = Any
"""`redis.Redis` or `RedisCluster`: one command set, two unrelated classes."""

SOCKET_TIMEOUT_S: Final = 10.0
CONNECT_S: Final = 5.0
"""Time-out at the start, where a wrong address is likelier than a store that restarts."""

UNREACHABLE: Final = (redis.ConnectionError, redis.TimeoutError, BusyLoadingError)
MOVING: Final = (AskError, ClusterDownError, TryAgainError, RedisClusterException)
"""A Cluster between two states: a primary was lost, a slot is on its way. AskError is MovedError's parent too."""
REFUSED: Final = (AuthenticationError, NoPermissionError)

FAILOVER: Final = {
    "READONLY": ("is a replica and took no writes", "point store.url at the primary"),
    "MASTERDOWN": ("is a replica that lost its primary", "look at the primary, or point store.url at it"),
    "NOREPLICAS": ("took no writes: it has fewer replicas than min-replicas-to-write", "look at its replicas"),
    "LOADING": ("was still reading its data from disk", "start again, or raise store.timeout_s"),
    "MISCONF": ("took no writes: it cannot save to its disk", "look at its log and its disk"),
    "BUSY": ("was held up by a script", "end it with SCRIPT KILL"),
}
"""Errors of a server that is there and cannot serve for now: code → what it means, what to do where it lasts."""
CODES: Final = {ReadOnlyError: "READONLY", MasterDownError: "MASTERDOWN", BusyLoadingError: "LOADING"}
"""Codes that the client turns into classes, and takes out of the text."""


@dataclass(frozen=True, slots=True)
class Node:
    """One server, and what it holds. tag: a key that begins with it is on this server, until slots are moved."""

    client: Client
    tag: str
    keys: list[str] = field(default_factory=list)


class StoreConnection:
    """The store's servers. Raises StoreError where they do not answer for `store.timeout_s`, or refuse."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._stale = False  # the next request begins with new connections
        self._client: Client = None
        self._client = self.with_retry(lambda: _connect(settings), min(settings.timeout_s, CONNECT_S))

    def nodes(self, keys: Iterable[str] = ()) -> list[Node]:
        """Every server, each with those of `keys` that it holds, in their order."""
        if not self._settings.cluster:
            return [Node(self._client, "", list(keys))]
        nodes: dict[str, Node] = {}
        primaries = {node.name for node in self._client.get_primaries()}
        for number in count():
            tag = f"{{{number}}}"
            server = self._client.get_node_from_key(tag)
            if server.name not in nodes:
                nodes[server.name] = Node(self._client.get_redis_connection(server), tag)
            if len(nodes) >= len(primaries):
                break
        for key in keys:
            nodes[self._client.get_node_from_key(key).name].keys.append(key)
        return list(nodes.values())

    def client_for_key(self, key: str) -> Client:
        """The server that holds `key`."""
        if not self._settings.cluster:
            return self._client
        return self._client.get_redis_connection(self._client.get_node_from_key(key))

    def with_retry(self, request: Callable[[], T], timeout_s: float | None = None) -> T:
        """Make a request, and repeat it while the servers cannot be reached: it must be idempotent."""
        attempts = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=lambda state: self._is_over(state, timeout_s),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            reraise=True,
        )
        try:
            answer: T = attempts(self._request, request)
        except (RedisError, RedisClusterException, OSError) as error:
            raise StoreError(_explained(error, self._settings)) from error
        return answer

    def _is_over(self, state: RetryCallState, unreachable_s: float | None) -> bool:
        """Whether the time-out has passed. unreachable_s: of a server that does not answer."""
        error = state.outcome.exception() if state.outcome else None
        timeout_s = self._settings.timeout_s if failover_code(error) else unreachable_s or self._settings.timeout_s
        return (state.seconds_since_start or 0.0) >= timeout_s

    def _request(self, request: Callable[[], T]) -> T:
        if self._stale:
            self._renew()
        self._stale = True
        answer = request()
        self._stale = False
        return answer

    def _renew(self) -> None:
        """Connect anew: a failover moves a name or an address to another server, or slots in a Cluster."""
        if isinstance(self._client, RedisCluster):
            self._client.nodes_manager.initialize()
        elif self._client:
            self._client.connection_pool.disconnect()

    def close(self) -> None:
        self._client.close()


def executed(pipe: Any) -> list[Any]:
    """A pipeline's replies. Raises its first error in the server's words, with the key, without the bytes sent."""
    sent = list(pipe.command_stack)
    replies: list[Any] = pipe.execute(raise_on_error=False) if len(pipe) else []
    for (words, _), reply in zip(sent, replies, strict=True):
        if isinstance(reply, Exception):
            if failover_code(reply) is None:
                reply.args = (f"{words[0]} {words[3 if words[0] == 'EVAL' else 1]}: {reply}",)
            raise reply
    return replies


def failover_code(error: BaseException | None) -> str | None:
    """The key of `FAILOVER` of this error, None for any other."""
    code = CODES.get(type(error)) or str(error).partition(" ")[0]
    return code if code in FAILOVER else None


def _may_pass(error: BaseException) -> bool:
    passing = isinstance(error, UNREACHABLE + MOVING) or failover_code(error) is not None
    return passing and not isinstance(error, REFUSED)


def _connect(settings: StoreSettings) -> Client:
    password = settings.password.get_secret_value() if settings.password else None
    wait_s = min(SOCKET_TIMEOUT_S, settings.timeout_s)
    options: dict[str, Any] = {"socket_timeout": wait_s, "socket_connect_timeout": wait_s}
    if password is not None:
        options["password"] = password
    once = Retry(NoBackoff(), 0)
    if settings.cluster:
        return RedisCluster.from_url(settings.url.get_secret_value(), retry=once, **options)
    client = redis.Redis.from_url(settings.url.get_secret_value(), retry=once, **options)
    client.ping()
    return client


def _explained(error: Exception, settings: StoreSettings) -> str:
    where = settings.address
    if isinstance(error, REFUSED):
        return f"store {where} refuses this client: {error}; check store.url, store.password and the server's ACL"
    if code := failover_code(error):
        state, fix = FAILOVER[code]
        return f"store {where} {state} ({code}), for {settings.timeout_s:g} s; {fix}"
    if isinstance(error, OutOfMemoryError):
        return f"store {where} is full: raise its maxmemory, add shards, or lower store.max_history"
    if isinstance(error, UNREACHABLE):
        return f"store {where} does not answer: {error}; is it up, is store.url right?"
    if isinstance(error, MOVING):
        return f"store {where} is a Cluster without one of its parts: {error}; look at its nodes"
    return f"store {where} refused a command: {error}"
