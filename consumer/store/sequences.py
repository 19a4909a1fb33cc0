"""One object's sequence: how its entries are packed, and which of them are classified with an alert."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from consumer.errors import ConfigError

LARGEST: Final = 1e20
"""Of a latent's components, which are about ten. Where bits flipped one is often 1e30: float32 still holds it, and not
what the next layer makes of it."""


def entry_dtype(latent: int, dtype: DTypeLike) -> np.dtype[np.void]:
    """How one entry is packed, little-endian and without padding: jd (days), band (ZTF filter id), latent (L,)."""
    return np.dtype([("jd", "<f8"), ("band", "u1"), ("latent", np.dtype(dtype).newbyteorder("<"), (latent,))])


@dataclass(frozen=True, slots=True)
class NewEntries:
    """What a batch adds to sequences, one row an alert, in stream order.

    keys: whose sequence. candid: (N,) int64. jd: (N,) float64 days. band: (N,) uint8. latents: (N, L) float32.
    """

    keys: Sequence[str]
    candid: NDArray[np.int64]
    jd: NDArray[np.float64]
    band: NDArray[np.uint8]
    latents: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)

    def rows_by_key(self) -> dict[str, list[int]]:
        """Rows of each object, in stream order."""
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(self.keys):
            rows.setdefault(key, []).append(row)
        return rows

    def packed(self, dtype: np.dtype[np.void]) -> list[bytes]:
        """Each row as the bytes that are stored. Raises ConfigError for latents that are no numbers there."""
        usable = np.abs(self.latents).max(axis=1, initial=0) <= min(LARGEST, float(np.finfo(dtype["latent"].base).max))
        if not usable.all():
            candid = self.candid[~usable][0]
            raise ConfigError(
                f"the model gives candid {candid} a latent that is no number, or past what store.dtype holds"
            )
        values = np.empty(len(self), dtype)
        values["jd"], values["band"], values["latent"] = self.jd, self.band, self.latents
        return [value.tobytes() for value in values]


@dataclass(frozen=True, slots=True)
class StoredSequence:
    """All that the store holds of one object, in (jd, candid) order: the same columns as `NewEntries`."""

    candid: NDArray[np.int64]
    jd: NDArray[np.float64]
    band: NDArray[np.int64]
    latents: NDArray[np.float32]

    @classmethod
    def unpack(cls, fields: Mapping[bytes, bytes], dtype: np.dtype[np.void]) -> Self:
        """From stored fields, candid → packed entry. Raises ValueError or OverflowError where one is no entry: not of
        this dtype, or with a latent or a jd that is not finite.
        """
        if set(map(len, fields.values())) - {dtype.itemsize}:
            wrong, value = next(field for field in fields.items() if len(field[1]) != dtype.itemsize)
            raise ValueError(f"field {wrong!r} holds {len(value)} bytes; an entry here has {dtype.itemsize}")
        candid = np.fromiter(map(int, fields), np.int64, len(fields))
        values = np.frombuffer(b"".join(fields.values()), dtype)
        order = np.lexsort((candid, values["jd"]))
        values = values[order]
        latents, jd = values["latent"].astype(np.float32), values["jd"].astype(np.float64)
        if len(jd) and not (_finite(latents) and math.isfinite(jd[0]) and math.isfinite(jd[-1])):  # NaN sorts last
            raise ValueError("an entry is not finite")
        return cls(candid[order], jd, values["band"].astype(np.int64), latents)


def _finite(latents: NDArray[np.float32]) -> bool:
    """Whether no component is past `LARGEST`. The sum of squares, a tenth of the work, is finite for nearly all."""
    flat = latents.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.dot(flat, flat)
    return math.isfinite(squares) or bool((np.abs(latents) <= LARGEST).all())


def damaged(fields: Mapping[bytes, bytes], dtype: np.dtype[np.void]) -> set[bytes]:
    """The names of those fields of a sequence that `StoredSequence.unpack` refuses."""

    def sound(name: bytes) -> bool:
        try:
            StoredSequence.unpack({name: fields[name]}, dtype)
        except (ValueError, OverflowError):
            return False
        return True

    return {name for name in fields if not sound(name)}


@dataclass(frozen=True, slots=True)
class SequencePrefix:
    """The sequence that is classified with an alert, oldest first, the alert last.

    latents: (T, L) float32. jd: (T,) float64 days. band: (T,) int64. truncated: older alerts were left out.
    late: it came when the object already had a newer alert; a redelivered one is not late.
    """

    latents: NDArray[np.float32]
    jd: NDArray[np.float64]
    band: NDArray[np.int64]
    truncated: bool
    late: bool

    def __len__(self) -> int:
        return len(self.jd)


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """How far back a history goes: at most `alerts` entries, none older than `days` before the last."""

    alerts: int = 128
    days: float = 365.0

    def histories(self, held: StoredSequence, candids: Sequence[int], added: Sequence[bool]) -> list[SequencePrefix]:
        """The history of each of `candids`, alerts of one object in stream order, all of them in `held`.

        An alert is classified with what was stored before the batch and what came before it in the batch, up
        to its own place in (jd, candid) order: however the stream falls into batches, the answer is the same. `added`
        says which of the candids the batch added; the others were stored before.
        """
        rows = [int(np.flatnonzero(held.candid == candid)[0]) for candid in candids]
        visible = np.ones(len(held.candid), bool)
        visible[[row for row, new in zip(rows, added, strict=True) if new]] = False
        found = []
        for row, new in zip(rows, added, strict=True):
            visible[row] = True
            found.append(self._upto(held, row, visible, new=bool(new)))
        return found

    def _upto(self, held: StoredSequence, row: int, visible: NDArray[np.bool_], *, new: bool) -> SequencePrefix:
        past = np.flatnonzero(visible[: row + 1])
        recent = past[held.jd[past] >= held.jd[row] - self.days][-self.alerts :]
        return SequencePrefix(
            latents=held.latents[recent],
            jd=held.jd[recent],
            band=held.band[recent],
            truncated=len(recent) < len(past),
            late=new and bool(visible[row + 1 :].any()),
        )
