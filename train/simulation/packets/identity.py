"""The numbers and names that ZTF gives: objectId, candid, processing ids, designations of asteroids."""

import numpy as np

from train.simulation.arrays import Floats, Ints, Mask
from train.simulation.sources import artefact
from train.simulation.sources.cadence import NIGHT_ZERO_JD
from train.simulation.sources.source import LABELS, Sources
from train.simulation.sources.supernova import CYCLE_DAYS

LETTERS = 7
NAMES = 26**LETTERS
# Odd and no multiple of 13, hence prime to 26^7: multiplying by it permutes the names.
SCRAMBLE = 2_718_281_829
# Objects of a class that the sky holds: what a night of a million alerts needs. Bogus alerts and asteroids take a new
# name on every exposure, up to 732 a year (366 nights, two filters); the others have at most 8 cycles of a key.
MOST_KEYS = {"AGN": 2**23, "SN": 2**23, "VS": 2**23, "asteroid": 2**21, "bogus": 2**23}
CYCLES = {"AGN": 8, "SN": 8, "VS": 8, "asteroid": 732, "bogus": 732}
# where each class's names begin among those of a year; they end below 26^7 = 8.03e9
FIRST_NAME = np.cumsum([0, *(MOST_KEYS[label] * CYCLES[label] for label in LABELS)])[:-1]
ROWS_OF_TABLE = 5000


def year_of(jd: Floats) -> Ints:
    """Calendar year (UTC) of Julian dates."""
    days = np.floor(np.asarray(jd) - 2440587.5).astype("datetime64[D]")
    years: Ints = days.astype("datetime64[Y]").astype(np.int64) + 1970
    return years


def _first_year(sources: Sources) -> Ints:
    """Two digits of the year in which the object was first seen."""
    label = np.array(LABELS)[sources.label]
    night = sources.cycle // 2
    exposed = year_of(NIGHT_ZERO_JD + night) % 100
    exploded = year_of(NIGHT_ZERO_JD + CYCLE_DAYS * sources.cycle) % 100
    steady = np.where(label == "bogus", 17, 18)
    passing = (label == "asteroid") | ((label == "bogus") & ~artefact.STAR_BOUND[sources.subclass * (label == "bogus")])
    return np.select([passing, label == "SN"], [exposed, exploded], default=steady)


def _within_year(sources: Sources) -> Ints:
    """A number below 732 that tells apart the objects of one key that share a first year."""
    night = sources.cycle // 2
    start = (year_of(NIGHT_ZERO_JD + night) - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    day = np.floor(NIGHT_ZERO_JD + night - 2440587.5).astype(np.int64) - start
    passing = np.isin(sources.label, (LABELS.index("asteroid"), LABELS.index("bogus"))) & (sources.cycle > 0)
    return np.where(passing, 2 * day + sources.cycle % 2, sources.cycle % 8)


def object_ids(sources: Sources) -> list[str]:
    """`ZTF`, two digits of the first year, seven letters; one object keeps its name on all nights."""
    keys = np.array([MOST_KEYS[label] for label in LABELS])[sources.label]
    number = FIRST_NAME[sources.label] + _within_year(sources) * keys + sources.key
    scrambled = [int(n) * SCRAMBLE % NAMES for n in number]
    years = _first_year(sources)
    return [f"ZTF{year:02d}{_letters(name)}" for year, name in zip(years, scrambled, strict=True)]


def _letters(name: int) -> str:
    letters = []
    for _ in range(LETTERS):
        name, letter = divmod(name, 26)
        letters.append(chr(ord("a") + letter))
    return "".join(reversed(letters))


def processing_ids(jd: Floats, channel: Ints) -> Ints:
    """`pid`: night, five digits of the day's fraction, readout channel, and 15."""
    night = np.floor(jd - NIGHT_ZERO_JD).astype(np.int64)
    fraction = np.floor((jd - NIGHT_ZERO_JD - night) * 1e5 + 1e-4).astype(np.int64)
    result: Ints = ((night * 100_000 + fraction) * 100 + channel) * 100 + 15
    return result


def table_rows(sources: Sources) -> Ints:
    """`tblid`: the detection's row in its image's table, unique there because slots are."""
    supernova = sources.label == LABELS.index("SN")  # two of one site, of neighbouring cycles, may be up at once
    place = np.where(supernova, sources.slot * 2 + sources.cycle % 2, sources.slot)
    return place * len(LABELS) + sources.label + 1


def candids(pid: Ints, table_row: Ints, positive: Mask) -> Ints:
    """`candid`: pid, 01, and the row, to which 5,000 is added where the source is brighter than the reference."""
    return pid * 1_000_000 + 10_000 + ROWS_OF_TABLE * positive + table_row


def designations(sources: Sources) -> list[str]:
    """Minor-planet numbers as ZTF writes them ('null' for what is no asteroid)."""
    moving = sources.label == LABELS.index("asteroid")
    return [str(100 + int(key)) if m else "null" for key, m in zip(sources.key, moving, strict=True)]
