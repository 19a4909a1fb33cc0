"""Faults on demand: what goes wrong between a telescope and its readers, in the proportions asked for."""

from dataclasses import dataclass

import numpy as np

from train.simulation.nights.plan import NightPlan
from train.simulation.random import Floats, Ints, KeyedRandom, Mask

FAULT_KINDS = {
    "duplicates": "the same packet again, up to 500 packets later",
    "shuffled": "out of time order, by up to 200 packets",
    "late": "after a tenth to a half of the night",
    "nan": "masked pixels in all three stamps",
    "edge": "cut by the quadrant's border",
    "no_template": "cutoutTemplate is null",
    "corrupt": "bytes damaged: truncated, overwritten, or mangled by a text transfer",
}
REPEAT_REACH, SHUFFLE_REACH = 500, 200
LATE_SHARE = (0.1, 0.5)


def parse_faults(text: str) -> dict[str, float]:
    """Rates by kind from `kind=rate,kind=rate`. Raises ValueError naming what is wrong and what would do."""
    rates: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = item.partition("=")
        if name not in FAULT_KINDS:
            raise ValueError(f"unknown fault {name!r} in --faults: choose from {', '.join(FAULT_KINDS)}")
        try:
            rates[name] = float(value)
        except ValueError:
            raise ValueError(f"the rate of {name!r} in --faults is {value!r}: write e.g. {name}=0.02") from None
        if not 0.0 <= rates[name] <= 1.0:
            raise ValueError(f"the rate of {name!r} in --faults is {value}: it is a share, from 0 to 1")
    return rates


@dataclass(frozen=True, slots=True)
class Emission:
    """Packets in the order they leave: the plan's row of each, and per kind which packets have the fault."""

    row: Ints
    faults: dict[str, Mask]

    def __len__(self) -> int:
        return len(self.row)

    def part(self, start: int, stop: int) -> "Emission":
        """The packets from `start` up to `stop`."""
        return Emission(self.row[start:stop], {kind: mask[start:stop] for kind, mask in self.faults.items()})

    def described(self) -> list[str]:
        """The faults of each packet, joined by commas."""
        named = [np.where(mask, kind, "") for kind, mask in self.faults.items()]
        return [",".join(filter(None, names)) for names in zip(*named, strict=True)] if named else [""] * len(self)


def _struck(random: KeyedRandom, plan: NightPlan, kind: str, rate: float) -> Mask:
    keys = (plan.label, plan.key, plan.cycle, plan.night, plan.band)
    mask: Mask = random.uniform(f"fault {kind}", *keys) < rate
    return mask


def emission(random: KeyedRandom, plan: NightPlan, rates: dict[str, float]) -> Emission:
    """When each alert leaves, and what is wrong with it; repeats share the faults of the packet they repeat."""
    count = len(plan)
    struck = {kind: _struck(random, plan, kind, rate) for kind, rate in rates.items()}
    none = np.zeros(count, dtype=bool)
    row = np.arange(count)
    shift = random.uniform("fault shift", row)
    when: Floats = row.astype(np.float64)
    when += np.where(struck.get("shuffled", none), (2.0 * shift - 1.0) * SHUFFLE_REACH, 0.0)
    low, high = LATE_SHARE
    when += np.where(struck.get("late", none), (low + (high - low) * shift) * count, 0.0)
    repeated = np.flatnonzero(struck.get("duplicates", none))
    again = when[repeated] + 1.0 + random.uniform("fault repeat", repeated) * REPEAT_REACH
    order = np.argsort(np.concatenate([when, again]), kind="stable")
    rows = np.concatenate([row, repeated])[order]
    faults = {kind: mask[rows] for kind, mask in struck.items() if kind != "duplicates"}
    if "duplicates" in struck:
        faults["duplicates"] = order >= count
    return Emission(rows, faults)


def corrupt_packet(packet: bytes, rng: np.random.Generator) -> bytes:
    """A packet as a bad disc, a cut connection or a text-mode transfer leaves it."""
    manner = rng.integers(3)
    if manner == 0:
        return packet[: int(rng.integers(len(packet) // 10, len(packet) - 16))]
    if manner == 1:
        return packet.replace(b"\n", b"\r\n")[: len(packet)]
    start = int(rng.integers(len(packet) // 2))
    return packet[:start] + rng.bytes(64) + packet[start + 64 :]
