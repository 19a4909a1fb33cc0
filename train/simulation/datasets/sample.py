"""Alerts and sequences chosen for data sets: distinct objects, spread over the survey's nights."""

import numpy as np

from train.simulation.images.observation import shoot, significance
from train.simulation.nights.plan import DETECTION, NightPlan, concatenate, detections
from train.simulation.packets.identity import MOST_KEYS
from train.simulation.random import Dice
from train.simulation.sources import population, supernova
from train.simulation.sources.cadence import schedule
from train.simulation.sources.source import LABELS, Sources

FIRST_NIGHT, NIGHTS = 540, 2900  # eight years from the summer of 2018
NIGHT_STRIDE = 1013  # prime to the number of nights: consecutive blocks see different seasons and moons
SPAN_NIGHTS = 64
SEQUENCE_KEYS = 1024
SAMPLE_KEYS = 512  # few, so that a small sample too comes from many nights


def _night_of(block: int) -> int:
    return FIRST_NIGHT + block * NIGHT_STRIDE % NIGHTS


def _once(dice: Dice, rows: NightPlan) -> NightPlan:
    """One alert an object, any of its own."""
    order = np.argsort(dice.uniform("which alert", rows.key, rows.cycle, rows.band), kind="stable")
    _, first = np.unique(np.stack([rows.key, rows.cycle // 2])[:, order], axis=1, return_index=True)
    return rows.take(np.sort(order[first]))


def alerts(dice: Dice, label: str, wanted: int) -> NightPlan:
    """`wanted` alerts of as many objects of a class, each on a night of its own block.

    Raises ValueError where the class has too few objects.
    """
    parts: list[NightPlan] = []
    for block in range(MOST_KEYS[label] // SAMPLE_KEYS):
        key = np.arange(block * SAMPLE_KEYS, (block + 1) * SAMPLE_KEYS)
        parts.append(_once(dice, detections(dice, label, key, _night_of(block))))
        if sum(map(len, parts)) >= wanted:
            return concatenate(parts).take(slice(0, wanted))
    raise ValueError(f"the sky holds fewer than {wanted} objects of class {label}: ask for a smaller --scale")


def _runs(rows: NightPlan, length: int) -> NightPlan:
    """The first `length` alerts of each object that has as many, objects together, in time order."""
    order = np.lexsort((rows.jd, rows.cycle, rows.key))
    rows = rows.take(order)
    starts = np.flatnonzero(np.r_[True, (np.diff(rows.key) != 0) | (np.diff(rows.cycle) != 0)])
    long_enough = starts[np.diff(np.r_[starts, len(rows)]) >= length]
    return rows.take((long_enough[:, None] + np.arange(length)).ravel())


def _lasting(dice: Dice, label: str, block: int, start: int) -> Sources:
    """The objects of a small block that may be seen in the span from night `start`."""
    key = np.arange(block * SEQUENCE_KEYS, (block + 1) * SEQUENCE_KEYS)
    cycles = supernova.cycles(start + SPAN_NIGHTS // 2) if label == "SN" else (0,)
    keys = np.tile(key, len(cycles))
    return population.draw(dice, np.full(len(keys), LABELS.index(label)), keys, np.repeat(np.array(cycles), len(key)))


def block_sequences(seed: int, label: str, block: int, length: int) -> NightPlan:
    """Sequences of `length` alerts of the AGN, SN or VS of one small block, within 64 nights."""
    dice, start = Dice(seed), _night_of(block)
    sources = _lasting(dice, label, block, start)
    jd = np.stack([schedule(seed, start + back).jd[sources.field] for back in range(SPAN_NIGHTS)], axis=1)
    row, back, red = np.nonzero(np.isfinite(jd))
    met = sources.take(row)
    shots = shoot(dice, met, start + back, red + 1, jd[row, back, red])
    rows = NightPlan(met.label, met.key, met.cycle, start + back, red + 1, jd[row, back, red])
    return _runs(rows.take(np.flatnonzero(np.abs(significance(shots)) >= DETECTION)), length)


def sequence_blocks(label: str) -> range:
    """Small blocks of a class's objects to look for sequences in, in order."""
    return range(MOST_KEYS[label] // SEQUENCE_KEYS)
