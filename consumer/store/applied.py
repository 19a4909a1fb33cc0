"""Up to which offset the store holds each partition, and whether those sequences are still there.

`applied:{group}:{topic}` is a hash, partition → offset before which the store holds everything of that partition; in a
Cluster each server has its own, `applied:` followed by a tag that keeps it there, and it is about what this server
holds. Beside a server's sequences, under their own prefix, lies a random token (`latent:{encoder id}:{dtype}-token:`),
and each applied hash has a copy of it: where sequences are deleted by their prefix the token goes with them, and the
copy belongs to sequences that are gone. A hash without a copy is of an earlier version, or of another encoder, which
was warmed up for this one: it is valid.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from consumer.errors import StoreError
from consumer.message import Partition
from consumer.store.connection import Node, StoreConnection, executed

LOST: Final = -2

ADVANCE: Final = """
local token = redis.call('HGET', KEYS[2], 'token') or ''
if ARGV[4] ~= '' and token ~= ARGV[4] then return {-2, token} end
if token == '' then
  token = ARGV[5]
  redis.call('HSET', KEYS[2], 'token', token)
end
local copy = redis.call('HGET', KEYS[1], KEYS[2])
if copy and copy ~= token then
  for at, field in ipairs(redis.call('HGETALL', KEYS[1])) do
    if at % 2 == 1 then redis.call('HDEL', KEYS[1], field) end
  end
end
if copy ~= token then redis.call('HSET', KEYS[1], KEYS[2], token) end
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-1')
if held < tonumber(ARGV[2]) then return {held, token} end
local now = math.max(held, tonumber(ARGV[3]))
if now > held then redis.call('HSET', KEYS[1], ARGV[1], now) end
return {now, token}
"""
"""Move a partition's applied offset forward to ARGV[3], unless it fell behind ARGV[2], which was written before: then
the store lost writes. The token must be ARGV[4], the last one read; where none was read, offsets of an earlier token
are deleted. One script, so that no crash between reading and writing can hide a loss. math.max keeps
integers up to 2^53 whole."""

Note = tuple[str, int]
"""Where an applied offset stands: key, and partition as its field."""


class AppliedOffsets:
    """The applied offsets of one group, for the sequences under one prefix (`latent:{encoder id}:{dtype}`)."""

    def __init__(self, servers: StoreConnection, group: str, sequences: str) -> None:
        self._servers, self._group, self._sequences = servers, group, sequences
        self._written: dict[Note, int] = {}
        self._tokens: dict[str, str] = {}  # of each server, by its tag
        self._fresh = uuid4().hex

    def of(self, partition: Partition) -> int | None:
        """The offset before which the store holds all of a partition; None for nothing. Resets what `check` expects."""
        held = self._servers.with_retry(lambda: [self._read(node, partition) for node in self._servers.nodes()])
        return None if None in held else min(offset for offset in held if offset is not None)

    def _read(self, node: Node, partition: Partition) -> int | None:
        key, number = self._note(node, partition)
        self._written.pop((key, number), None)
        pipe = node.client.pipeline(transaction=False)
        pipe.hget(key, str(number)).hget(key, self._token_key(node)).hget(self._token_key(node), "token")
        offset, copy, token = executed(pipe)
        self._tokens[node.tag] = token.decode() if token else ""
        return None if offset is None or copy not in {None, token} else int(offset)

    def advance(self, pipe: Any, node: Node, offsets: Mapping[Partition, int]) -> list[Note]:
        """Add to a server's pipeline the commands that store `offsets`. Returns the note of each reply."""
        notes = [self._note(node, partition) for partition in offsets]
        for (key, number), offset in zip(notes, offsets.values(), strict=True):
            words = number, self._written.get((key, number), -1), offset, self._tokens.get(node.tag, ""), self._fresh
            pipe.execute_command("EVAL", ADVANCE, 2, key, self._token_key(node), *words)
        return notes

    def check(self, node: Node, notes: Sequence[Note], replies: Sequence[tuple[int, bytes]]) -> None:
        """Note the replies of `advance`. Raises StoreError where the store lost what it had."""
        for note, (held, token) in zip(notes, replies, strict=True):
            if held == LOST:
                raise StoreError(f"store lost writes: the sequences {self._sequences}:* are gone; restart to refill it")
            written = self._written.get(note, -1)
            if held < written:
                place = f"{note[0].removeprefix('applied:')} [{note[1]}]"
                raise StoreError(
                    f"store lost writes: it holds {place} up to {held}, not {written}; restart to refill it"
                )
            self._written[note], self._tokens[node.tag] = held, token.decode()

    def _note(self, node: Node, partition: Partition) -> Note:
        topic, number = partition
        return f"applied:{node.tag}{self._group}:{topic}", number

    def _token_key(self, node: Node) -> str:
        return f"{self._sequences}-token:{node.tag}"
