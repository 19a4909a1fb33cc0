"""Alerts and sequences for data sets: distinct objects spread over the survey's nights, with images and features."""

from dataclasses import dataclass

import numpy as np

from model_zoo.coordinates import ecliptic, galactic
from model_zoo.preprocess import normalise
from train.data.pickle_layouts import FEATURES
from train.simulation.images.composition import neighbours
from train.simulation.images.observation import observe, significance
from train.simulation.images.stamps import AlertStamps, draw_alert_stamps, generators
from train.simulation.nights.plan import DETECTION, NightPlan, alerts_of_night, concatenate_plans
from train.simulation.packets import catalogue
from train.simulation.packets.candidate import candidates
from train.simulation.packets.history import earlier, record
from train.simulation.packets.identity import MOST_KEYS, object_ids
from train.simulation.packets.photometry import measure
from train.simulation.random import Columns, Floats, KeyedRandom, Pixels
from train.simulation.sources import population
from train.simulation.sources.galaxies import supernova_cycles
from train.simulation.sources.source import LABELS, Sources
from train.simulation.survey import visit_schedule

FIRST_NIGHT, NIGHTS = 540, 2900  # eight years from the summer of 2018
NIGHT_STRIDE = 1013  # prime to the number of nights: consecutive blocks see different seasons and moons
SPAN_NIGHTS = 64
SEQUENCE_KEYS = 1024
SAMPLE_KEYS = 512  # few, so that a small sample too comes from many nights


def _night_of(block: int) -> int:
    return FIRST_NIGHT + block * NIGHT_STRIDE % NIGHTS


def _once(random: KeyedRandom, rows: NightPlan) -> NightPlan:
    """One alert an object, any of its own."""
    order = np.argsort(random.uniform("which alert", rows.key, rows.cycle, rows.band), kind="stable")
    _, first = np.unique(np.stack([rows.key, rows.cycle // 2])[:, order], axis=1, return_index=True)
    return rows.take(np.sort(order[first]))


def sample_alerts(random: KeyedRandom, label: str, wanted: int) -> NightPlan:
    """`wanted` alerts of as many objects of a class, each on a night of its own block.

    Raises ValueError where the class has too few objects.
    """
    parts: list[NightPlan] = []
    for block in range(MOST_KEYS[label] // SAMPLE_KEYS):
        key = np.arange(block * SAMPLE_KEYS, (block + 1) * SAMPLE_KEYS)
        parts.append(_once(random, alerts_of_night(random, label, key, _night_of(block))))
        if sum(map(len, parts)) >= wanted:
            return concatenate_plans(parts).take(slice(0, wanted))
    raise ValueError(f"the sky holds fewer than {wanted} objects of class {label}: ask for a smaller --scale")


def _runs(rows: NightPlan, length: int) -> NightPlan:
    """The first `length` alerts of each object that has as many, objects together, in time order."""
    order = np.lexsort((rows.jd, rows.cycle, rows.key))
    rows = rows.take(order)
    starts = np.flatnonzero(np.r_[True, (np.diff(rows.key) != 0) | (np.diff(rows.cycle) != 0)])
    long_enough = starts[np.diff(np.r_[starts, len(rows)]) >= length]
    return rows.take((long_enough[:, None] + np.arange(length)).ravel())


def _lasting(random: KeyedRandom, label: str, block: int, start: int) -> Sources:
    """The objects of a small block that may be seen in the span from night `start`."""
    key = np.arange(block * SEQUENCE_KEYS, (block + 1) * SEQUENCE_KEYS)
    cycles = supernova_cycles(start + SPAN_NIGHTS // 2) if label == "SN" else (0,)
    keys = np.tile(key, len(cycles))
    return population.draw_sources(
        random, np.full(len(keys), LABELS.index(label)), keys, np.repeat(np.array(cycles), len(key))
    )


def block_sequences(seed: int, label: str, block: int, length: int) -> NightPlan:
    """Sequences of `length` alerts of the AGN, SN or VS of one small block, within 64 nights."""
    random, start = KeyedRandom(seed), _night_of(block)
    sources = _lasting(random, label, block, start)
    jd = np.stack([visit_schedule(seed, start + back).jd[sources.field] for back in range(SPAN_NIGHTS)], axis=1)
    row, back, red = np.nonzero(np.isfinite(jd))
    met = sources.take(row)
    obs = observe(random, met, start + back, red + 1, jd[row, back, red])
    rows = NightPlan(met.label, met.key, met.cycle, start + back, red + 1, jd[row, back, red])
    return _runs(rows.take(np.flatnonzero(np.abs(significance(obs)) >= DETECTION)), length)


def sequence_blocks(label: str) -> range:
    """Small blocks of a class's objects to look for sequences in, in order."""
    return range(MOST_KEYS[label] // SEQUENCE_KEYS)


@dataclass(frozen=True, slots=True)
class SimulatedStamps:
    """Alerts as a data set has them.

    images: (N, 3, side, side) float32: science, template, difference, each channel scaled to [0, 1], NaN as 0.
    features: (N, 26) float64, unclipped, −999 where a packet has it; (N, 0) where none were asked for.
    """

    images: Pixels
    features: Floats
    oid: list[str]


def raw_images(seen: AlertStamps) -> Pixels:
    """Science, template, difference in DN with NaN where masked, (n, 3, side, side)."""
    images = np.stack([seen.frames.science, seen.frames.template, seen.frames.difference], axis=1)
    return np.where(seen.masks[:, None], np.float32(np.nan), images)


def alert_features(random: KeyedRandom, plan: NightPlan, seen: AlertStamps) -> Floats:
    """ALeRCE's 26 columns, (n, 26) float64."""
    obs = seen.obs
    near = catalogue.vicinity(random, obs, neighbours(random, obs.sources))
    known = record(random, plan, obs.sources, earlier(random, plan, obs.sources))
    measured = measure(seen.frames.difference, obs)
    columns: Columns = candidates(random, obs, seen.positive, measured, near, known)
    columns["isdiffpos"] = np.where(seen.positive, 1.0, -1.0)
    columns["ecl_long"], columns["ecl_lat"] = ecliptic(columns["ra"], columns["dec"])
    columns["gal_long"], columns["gal_lat"] = galactic(columns["ra"], columns["dec"])
    columns["non_detections"] = columns["ncovhist"] - columns["ndethist"]
    return np.stack([columns[name].astype(np.float64) for name in FEATURES], axis=1)


def draw_stamp_set(seed: int, plan: NightPlan, side: int, *, with_features: bool) -> SimulatedStamps:
    """Draw a few alerts at `side` pixels (odd, 21 to 63)."""
    random = KeyedRandom(seed)
    seen = draw_alert_stamps(random, plan, generators(seed, plan), side)
    numbers = alert_features(random, plan, seen) if with_features else np.empty((len(plan), 0))
    return SimulatedStamps(normalise(raw_images(seen)), numbers, object_ids(seen.obs.sources))
