"""Which alerts a night raises: objects met by the night's exposures and above the detection limit, in time order.

A plan is a few numbers a row, so a night of a million alerts fits in memory; pixels come later, chunk by chunk.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from train.simulation.images.observation import observe, significance
from train.simulation.packets.identity import MOST_KEYS
from train.simulation.random import Ints, KeyedRandom, Mask
from train.simulation.sources import artefact, population
from train.simulation.sources.galaxies import supernova_cycles
from train.simulation.sources.nearby import asteroid_cycle
from train.simulation.sources.source import LABELS, Sources
from train.simulation.survey import visit_schedule

DETECTION = 5.3  # signal-to-noise ratio; the survey's threshold is 5
BLOCK_KEYS = 8192
DEFAULT_MIX = {"AGN": 0.13, "SN": 0.08, "VS": 0.34, "asteroid": 0.25, "bogus": 0.20}


@dataclass(frozen=True, slots=True)
class NightPlan:
    """Alerts to draw, one row each: class, key and cycle name the object; night and band the exposure of its field."""

    label: Ints
    key: Ints
    cycle: Ints
    night: Ints
    band: Ints
    jd: np.ndarray

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: Ints | slice) -> "NightPlan":
        """The rows chosen, in that order."""
        return replace(self, **{column.name: getattr(self, column.name)[rows] for column in fields(self)})


def concatenate_plans(parts: list[NightPlan]) -> NightPlan:
    """One plan of all rows, part after part."""
    return NightPlan(**{c.name: np.concatenate([getattr(part, c.name) for part in parts]) for c in fields(NightPlan)})


def quotas(alerts: int, mix: dict[str, float]) -> dict[str, int]:
    """Whole numbers of alerts per class that sum to `alerts`, by largest remainder."""
    total = sum(mix.values())
    exact = {label: alerts * mix.get(label, 0.0) / total for label in LABELS}
    counts = {label: int(share) for label, share in exact.items()}
    by_remainder = sorted(LABELS, key=lambda label: counts[label] - exact[label])
    for label in by_remainder[: alerts - sum(counts.values())]:
        counts[label] += 1
    return counts


def _encounters(random: KeyedRandom, label: str, key: Ints, night: int) -> tuple[Ints, Ints, Ints]:
    """(key, cycle, band) of all that objects of a class could show on a night, before asking whether they are seen."""
    bands = np.array([1, 2])
    keys, band = np.repeat(key, 2), np.tile(bands, len(key))
    if label == "SN":
        cycles = supernova_cycles(night)
        return np.tile(keys, len(cycles)), np.repeat(np.array(cycles), len(keys)), np.tile(band, len(cycles))
    if label == "asteroid":
        return keys, asteroid_cycle(night, band), band
    if label == "bogus":
        return keys, artefact.artefact_cycle(random, keys, night, band), band
    return keys, np.zeros_like(keys), band


def _seen(random: KeyedRandom, rows: NightPlan, sources: Sources) -> Mask:
    if not len(rows):
        return np.zeros(0, dtype=bool)
    obs = observe(random, sources, rows.night, rows.band, rows.jd)
    bogus = rows.label == LABELS.index("bogus")
    shows = artefact.artefact_appears(random, rows.key, sources.field, rows.night, rows.band) if bogus.any() else bogus
    mask: Mask = np.where(bogus, shows, np.abs(significance(obs)) >= DETECTION)
    return mask


def alerts_of_night(random: KeyedRandom, label: str, key: Ints, night: int) -> NightPlan:
    """The alerts that objects `key` of a class raise on a night."""
    keys, cycle, band = _encounters(random, label, key, night)
    code = np.full(len(keys), LABELS.index(label))
    sources = population.draw_sources(random, code, keys, cycle)
    jd = visit_schedule(random.seed, night).jd[sources.field, band - 1]
    met = np.flatnonzero(np.isfinite(jd))
    rows = NightPlan(code, keys, cycle, np.full(len(keys), night), band, jd).take(met)
    return rows.take(np.flatnonzero(_seen(random, rows, sources.take(met))))


def _gather(random: KeyedRandom, label: str, wanted: int, night: int) -> NightPlan:
    """The first `wanted` alerts of a class, in the order of its objects."""
    parts: list[NightPlan] = []
    found = 0
    for start in range(0, MOST_KEYS[label], BLOCK_KEYS):
        parts.append(alerts_of_night(random, label, np.arange(start, start + BLOCK_KEYS), night))
        found += len(parts[-1])
        if found >= wanted:
            break
    if found < wanted:
        raise ValueError(
            f"night {night} holds {found} alerts of class {label}, {wanted} were asked for: ask for fewer alerts, "
            f"or give {label} a smaller share with --mix"
        )
    return concatenate_plans(parts).take(slice(0, wanted))


def plan_night(seed: int, night: int, alerts: int, mix: dict[str, float] | None = None) -> NightPlan:
    """`alerts` alerts of a night in time order; `mix` gives the classes' shares.

    Raises ValueError where the night has too few of a class.
    """
    random = KeyedRandom(seed)
    counts = quotas(alerts, mix or DEFAULT_MIX)
    plan = concatenate_plans([_gather(random, label, count, night) for label, count in counts.items()])
    order = np.lexsort((plan.key, plan.label, plan.jd))
    return plan.take(order)


def chunks(plan: NightPlan, size: int) -> Iterator[NightPlan]:
    """The plan in pieces of `size` rows, the last one shorter."""
    for start in range(0, len(plan), size):
        yield plan.take(slice(start, start + size))
