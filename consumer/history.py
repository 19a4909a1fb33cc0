"""One object's sequence: its entries, how they are packed, and which of them an alert is judged on."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

PREFIX: Final = struct.Struct("<dB")
"""jd (float64) and band (uint8), before the latent."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One alert of a sequence. latent: (L,) float32. jd: days. band: ZTF filter id."""

    key: str
    candid: int
    jd: float
    band: int
    latent: NDArray[np.float32]

    def packed(self, dtype: np.dtype[np.floating]) -> bytes:
        """jd, band and latent as little-endian bytes, the latent in `dtype`."""
        return PREFIX.pack(self.jd, self.band) + self.latent.astype(dtype).tobytes()

    @classmethod
    def unpack(cls, key: str, candid: int, value: bytes, dtype: np.dtype[np.floating]) -> Self:
        jd, band = PREFIX.unpack_from(value)
        latent = np.frombuffer(value, dtype, offset=PREFIX.size).astype(np.float32)
        return cls(key, candid, jd, band, latent)

    @property
    def order(self) -> tuple[float, int]:
        """Entries stand by time; candid settles a tie."""
        return self.jd, self.candid


@dataclass(frozen=True, slots=True)
class History:
    """What an alert is judged on, oldest first, itself last.

    latents: (T, L) float32. jd: (T,) float64 days. band: (T,) int64. truncated: older alerts were left out.
    late: the store already held a newer alert of the object.
    """

    latents: NDArray[np.float32]
    jd: NDArray[np.float64]
    band: NDArray[np.int64]
    truncated: bool
    late: bool

    def __len__(self) -> int:
        return len(self.jd)


@dataclass(frozen=True, slots=True)
class Window:
    """How far back a history goes: at most `alerts` entries, none older than `days` before the last."""

    alerts: int = 128
    days: float = 365.0

    def upto(self, entry: Entry, known: Iterable[Entry]) -> History:
        """The history of `entry` among the `known` entries of its object, in any order, itself among them.

        Only event time decides: entries after (jd, candid) of `entry` do not count, whenever they came.
        """
        past = sorted((one for one in known if one.order <= entry.order), key=lambda one: one.order)
        recent = [one for one in past if one.jd >= entry.jd - self.days][-self.alerts :]
        return History(
            latents=np.stack([one.latent for one in recent]),
            jd=np.array([one.jd for one in recent], np.float64),
            band=np.array([one.band for one in recent], np.int64),
            truncated=len(recent) < len(past),
            late=any(one.order > entry.order for one in known),
        )
