"""The numbers and names that ZTF gives, and the columns of an exposure: zero points, colour terms, file names."""

import numpy as np

from train.simulation.images.observation import Observations
from train.simulation.random import Columns, Floats, Ints, KeyedRandom, Mask
from train.simulation.sources import artefact
from train.simulation.sources.galaxies import CYCLE_DAYS
from train.simulation.sources.source import LABELS, Sources
from train.simulation.survey import NIGHT_ZERO_JD, fields

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


def detection_rows(sources: Sources) -> Ints:
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


RB_VERSION, DRB_VERSION = "t17_f5_c3", "d6_m7"
PUBLIC_INVESTIGATOR = "Kulkarni"
EXPOSURE_SECONDS = 30.0
COLOUR_TERM = (-0.06, 0.09)


def identifiers(obs: Observations) -> Columns:
    """pid, nid, rcid, field, fid, jd and the program, of each observation's exposure."""
    e, source = obs.exposures, obs.sources
    return {
        "jd": np.round(e.jd, 7), "fid": e.band, "pid": processing_ids(e.jd, source.channel),
        "programpi": np.full(len(obs), PUBLIC_INVESTIGATOR), "programid": np.ones(len(obs), dtype=np.int64),
        "nid": e.night, "rcid": source.channel, "field": fields().number[source.field],
    }  # fmt: skip


def zero_points(random: KeyedRandom, obs: Observations) -> Columns:
    """Photometric calibration of the science image, as carried by detections, limits and forced photometry alike."""
    e = obs.exposures
    keys = (e.field, e.night, e.band, obs.sources.channel)
    clouded = np.clip(26.2 - e.zero_point, 0.0, 3.0)
    unc = 8e-6 * np.exp(0.5 * random.normal("zero point error", *keys) + 0.8 * clouded)
    term = np.take(COLOUR_TERM, e.band - 1) + 0.022 * random.normal("colour term", *keys)
    scatter = 0.036 * np.exp(0.25 * random.normal("calibration scatter", *keys) + 0.25 * clouded)
    return {
        "magzpsci": e.zero_point, "magzpsciunc": unc, "magzpscirms": scatter,
        "clrcoeff": term, "clrcounc": 1.6 * unc, "exptime": np.full(len(obs), EXPOSURE_SECONDS),
    }  # fmt: skip


def calibrators(random: KeyedRandom, obs: Observations, unc: Floats) -> Columns:
    """The Pan-STARRS 1 stars behind the calibration."""
    e, crowd = obs.exposures, obs.sources.crowd
    keys = (e.field, e.night, e.band, obs.sources.channel)
    clouded = np.clip(26.2 - e.zero_point, 0.0, 3.0)
    matches = 330.0 * (crowd / 0.0018) ** 0.8 * np.exp(0.3 * random.normal("calibrators", *keys) - 0.7 * clouded)
    return {
        "nmatches": np.clip(matches, 30, 2000).astype(np.int64),
        "zpclrcov": -1.3 * unc, "zpmed": np.round(e.zero_point - 0.04 * random.normal("zpmed", *keys), 3),
        "clrmed": np.round(0.62 + 0.09 * random.normal("clrmed", *keys), 3),
        "clrrms": np.round(0.24 + 0.03 * random.normal("clrrms", *keys), 6),
    }  # fmt: skip


def file_stems(columns: Columns) -> list[str]:
    """`ztf_YYYYMMDDffffff_field_filter_cCC_o_qQ_scimrefdiffimg.fits` of each exposure."""
    jd, channel = columns["jd"], columns["rcid"]
    day = np.floor(jd - 2440587.5).astype("datetime64[D]").astype(str)
    fraction = np.floor((jd - NIGHT_ZERO_JD) % 1.0 * 1e6 + 1e-3).astype(np.int64)
    rows = zip(day, fraction, columns["field"], columns["fid"], channel // 4 + 1, channel % 4 + 1, strict=True)
    return [
        f"ztf_{d.replace('-', '')}{f:06d}_{field:06d}_z{'gri'[band - 1]}_c{ccd:02d}_o_q{q}_scimrefdiffimg.fits"
        for d, f, field, band, ccd, q in rows
    ]


def archive_paths(stems: list[str]) -> list[str]:
    """Where the survey's archive keeps the difference images of earlier exposures."""
    return [f"/ztf/archive/sci/{s[4:8]}/{s[8:12]}/{s[12:18]}/{s}.fz" for s in stems]


def edge_distance(column: Floats, row: Floats) -> Floats:
    """Pixels to the closest border of the 3072 × 3080 quadrant, for places counted from 1."""
    result: Floats = np.minimum(np.minimum(column, 3072.5 - column), np.minimum(row, 3080.5 - row))
    return result


def reference_columns(obs: Observations) -> Columns:
    """The reference image: number, first and last exposure, frames."""
    r = obs.references
    columns: dict[str, Ints | Floats] = {
        "rfid": r.number, "jdstartref": r.first_jd, "jdendref": r.last_jd, "nframesref": r.frames,
    }  # fmt: skip
    return columns
