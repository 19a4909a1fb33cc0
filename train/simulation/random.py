"""Array types of the simulation, and draws that depend on a seed and on what is drawn, and on nothing else.

An object is the same object on every night, on any number of processes and in any order, because each of its
properties is a hash of (seed, name of the property, keys of the object) mapped to a distribution.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.float32]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Complexes = NDArray[np.complex64]
Columns = dict[str, NDArray[Any]]


UInts = NDArray[np.uint64]

# SplitMix64 (Steele, Lea & Flood 2014): increment and the two multipliers of its finaliser.
GAMMA = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


def _finalise(state: UInts) -> UInts:
    state = (state ^ (state >> np.uint64(30))) * MULTIPLIER_1
    state = (state ^ (state >> np.uint64(27))) * MULTIPLIER_2
    return state ^ (state >> np.uint64(31))


@lru_cache(maxsize=1024)
def _name_key(name: str) -> np.uint64:
    return np.uint64(zlib.crc32(name.encode()))


@dataclass(frozen=True, slots=True)
class KeyedRandom:
    """Keyed random draws; `keys` are integer arrays that broadcast together and give the result its shape."""

    seed: int

    def bits(self, name: str, *keys: ArrayLike) -> UInts:
        """64 random bits for each combination of keys, uint64."""
        with np.errstate(over="ignore"):
            state = np.asarray(np.uint64(self.seed % 2**64) * GAMMA + _name_key(name))
            for key in keys:
                state = _finalise(state + GAMMA) ^ np.asarray(key, dtype=np.int64).astype(np.uint64)
            return _finalise(state + GAMMA)

    def uniform(self, name: str, *keys: ArrayLike) -> Floats:
        """Uniform on the open interval (0, 1)."""
        return ((self.bits(name, *keys) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def between(self, low: float, high: float, name: str, *keys: ArrayLike) -> Floats:
        """Uniform on (low, high)."""
        return low + (high - low) * self.uniform(name, *keys)

    def normal(self, name: str, *keys: ArrayLike) -> Floats:
        """Standard normal, by Box and Muller from the two halves of one hash."""
        bits = self.bits(name, *keys)
        radius = ((bits >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32
        angle = (bits & np.uint64(0xFFFFFFFF)).astype(np.float64) * 2.0**-32
        return np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)

    def integers(self, count: int, name: str, *keys: ArrayLike) -> Ints:
        """Uniform on 0 … count − 1."""
        return (self.bits(name, *keys) % np.uint64(count)).astype(np.int64)

    def choice(self, weights: ArrayLike, name: str, *keys: ArrayLike) -> Ints:
        """Indices drawn in proportion to `weights`."""
        share = np.cumsum(np.asarray(weights, dtype=np.float64))
        drawn = np.searchsorted(share / share[-1], self.uniform(name, *keys), side="right")
        return np.minimum(drawn, len(share) - 1).astype(np.int64)
