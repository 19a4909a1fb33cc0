"""What happened before at each source's place: detections and limits of 30 days, forced photometry, the long record."""

from dataclasses import dataclass

import numpy as np

from train.simulation.images.exposure import exposures
from train.simulation.images.observation import Observations, moment, observe, significance
from train.simulation.nights.plan import DETECTION, NightPlan
from train.simulation.packets.candidate import MAG_PER_SIGMA, CandidateRecord
from train.simulation.packets.identity import (
    RB_VERSION,
    archive_paths,
    candids,
    detection_rows,
    edge_distance,
    file_stems,
    identifiers,
    zero_points,
)
from train.simulation.random import Columns, Floats, Ints, KeyedRandom, Mask
from train.simulation.sources import population
from train.simulation.sources.source import LABELS, Sources
from train.simulation.survey import SURVEY_START_NIGHT, julian_date, visit_window

WINDOW_NIGHTS = 30
TRIAL_EPOCHS = 16  # dates on which a lasting source is tried, to tell how often it has been seen
# nights of the season over nights of the year, over the mean revisit in nights, less the weather's share
VISITS_A_NIGHT = 2 * (150.0 / 360.0) / 2.5 * 0.88
FORCED_SHARE = 0.97  # of exposures have forced photometry
MISSING_FORCED = -99999.0


@dataclass(frozen=True, slots=True)
class AlertHistory:
    """Earlier exposures, one row each; `row` is the alert they belong to, rows of one alert in time order."""

    row: Ints
    obs: Observations
    detected: Mask
    signal_to_noise: Floats


def _exposures_before(random: KeyedRandom, plan: NightPlan, field: Ints) -> Floats:
    """Starts of the exposures of each alert's field, from 30 nights before to its own night: (n, 31, 2), or NaN."""
    starts = np.empty((len(plan), WINDOW_NIGHTS + 1, 2))
    for night in np.unique(plan.night):
        rows = np.flatnonzero(plan.night == night)
        starts[rows] = visit_window(random.seed, int(night), WINDOW_NIGHTS + 1)[:, field[rows], :].transpose(1, 0, 2)
    return starts


def earlier(random: KeyedRandom, plan: NightPlan, sources: Sources) -> AlertHistory:
    """The exposures of each source's field in the 30 days before its alert."""
    jd = _exposures_before(random, plan, sources.field)
    row, back, band = np.nonzero(np.isfinite(jd) & (jd < plan.jd[:, None, None]))
    when = jd[row, back, band]
    order = np.lexsort((when, row))
    row, back, band, when = row[order], back[order], band[order], when[order]
    obs = observe(random, sources.take(row), plan.night[row] - WINDOW_NIGHTS + back, band + 1, when)
    ratio = significance(obs)
    return AlertHistory(row, obs, np.abs(ratio) >= DETECTION, ratio)


def _trial(random: KeyedRandom, sources: Sources) -> Floats:
    """Share of the exposures on which each lasting source is detected, from a fixed set of dates."""
    count = len(sources)
    many = sources.take(np.repeat(np.arange(count), TRIAL_EPOCHS))
    epoch = np.tile(np.arange(TRIAL_EPOCHS), count)
    night = SURVEY_START_NIGHT + random.integers(2500, "trial night", many.label, many.key, epoch)
    band = 1 + epoch % 2
    conditions = exposures(random, many.field, night, band, julian_date(0) + night + 0.3)
    scale = 10.0 ** (0.4 * (conditions.zero_point - 26.0))
    change = (population.source_flux(random, many, conditions.jd, band) - population.reference_flux(many, band)) * scale
    steady = population.reference_flux(many, band) * scale
    error = np.hypot(conditions.flux_error(change), 0.012 * steady)
    share: Floats = (np.abs(change) > 3.0 * error).reshape(count, TRIAL_EPOCHS).mean(axis=1)
    return share


def record(random: KeyedRandom, plan: NightPlan, sources: Sources, past: AlertHistory) -> CandidateRecord:
    """ndethist, ncovhist and the dates that go with them; they grow from night to night for a lasting source."""
    keys = (sources.label, sources.key, sources.cycle)
    visits = (plan.night - SURVEY_START_NIGHT) * VISITS_A_NIGHT
    lasting = np.isin(sources.label, (LABELS.index("AGN"), LABELS.index("VS")))
    supernova = sources.label == LABELS.index("SN")
    share = np.zeros(len(sources))
    share[lasting] = _trial(random, sources.take(np.flatnonzero(lasting)))
    recent = np.bincount(past.row[past.detected], minlength=len(sources))
    first = julian_date(SURVEY_START_NIGHT) + 60.0 * random.uniform("first seen", *keys) / np.maximum(share, 0.01)
    since = np.where(supernova, sources.epoch - 14.0, np.where(lasting, np.minimum(first, plan.jd), plan.jd))
    young = np.maximum(plan.jd - sources.epoch - 16.0, 0.0) * VISITS_A_NIGHT * supernova
    seen_before = np.where(lasting, np.maximum(np.round(share * visits), recent), recent + np.round(young))
    alone = seen_before < 1
    overlap = np.exp(0.2 + 0.75 * random.normal("overlap", *keys))  # other fields and programs see the place too
    return CandidateRecord(
        detections=1 + seen_before.astype(np.int64),
        covered=np.round(visits * overlap).astype(np.int64) + 1 + seen_before.astype(np.int64),
        first_jd=np.where(alone, plan.jd, np.round(np.minimum(since, plan.jd), 7)),
        last_jd=plan.jd,
    )


def _measured(random: KeyedRandom, obs: Observations, ratio: Floats) -> Columns:
    """Candidate columns of earlier detections, drawn from the light curve and not from pixels."""
    keys = moment(obs)
    zero, sigma = obs.exposures.zero_point, obs.exposures.sigma
    flux = np.maximum(np.abs(obs.flux - obs.reference_flux) * obs.scale, 2.0 * sigma)
    error = np.maximum(flux / np.maximum(np.abs(ratio), DETECTION), obs.exposures.flux_error(flux))
    flux = np.maximum(flux + 0.4 * error * random.normal("earlier flux", *keys), 4.0 * sigma)
    magpsf = zero - 2.5 * np.log10(flux)
    magap = np.round(magpsf + 0.09 * random.normal("earlier aperture", *keys), 4)
    width = np.round(obs.exposures.seeing * np.exp(0.15 * random.normal("earlier width", *keys)), 2)
    major = np.round(0.29 * width * np.exp(0.1 * random.normal("earlier major", *keys)), 3)
    minor = np.round(major / (1.0 + 0.1 * random.uniform("earlier elongation", *keys)), 3)
    negatives = np.floor(random.between(0.0, 5.0, "earlier negatives", *keys)).astype(np.int64)
    return {
        "magpsf": magpsf, "sigmapsf": MAG_PER_SIGMA * error / flux,
        "chipsf": 1.4 * np.exp(0.5 * random.normal("earlier chi", *keys)) * (1.0 + flux / (900.0 * sigma)),
        "magap": magap, "sigmagap": np.round(np.minimum(13.0 * sigma / flux, 1.0), 4),
        "magdiff": magap - magpsf, "magfromlim": obs.exposures.limit - magap,
        "magapbig": np.round(magap - 0.03, 4), "sigmagapbig": np.round(np.minimum(17.0 * sigma / flux, 1.2), 4),
        "sky": 0.1 + 0.3 * random.normal("earlier sky", *keys), "fwhm": width,
        "classtar": np.round(1.0 - 0.1 * random.uniform("earlier star", *keys) ** 2, 3),
        "seeratio": obs.exposures.seeing / width, "aimage": major, "bimage": minor,
        "aimagerat": major / width, "bimagerat": minor / width, "elong": major / minor,
        "nneg": negatives, "nbad": np.zeros_like(negatives), "sumrat": 1.0 - 0.02 * negatives,
        "rb": 0.95 - 0.4 * random.uniform("earlier rb", *keys) ** 2, "scorr": flux / (5.9 * sigma),
    }  # fmt: skip


def detections(random: KeyedRandom, past: AlertHistory, near: Columns) -> Columns:
    """Columns of the detections among the earlier exposures; `near` is the alerts' own reference source."""
    rows = np.flatnonzero(past.detected)
    obs = past.obs.take(rows)
    base = identifiers(obs)
    table_row = detection_rows(obs.sources)
    positive = past.signal_to_noise[rows] > 0
    keys = moment(obs)
    columns = base | zero_points(random, obs) | _measured(random, obs, past.signal_to_noise[rows])
    columns |= {name: near[name][past.row[rows]] for name in ("magnr", "sigmagnr", "chinr", "sharpnr", "ranr", "decnr")}
    return columns | {
        "distnr": np.abs(near["distnr"][past.row[rows]] + 0.08 * random.normal("earlier distance", *keys)),
        "candid": candids(base["pid"], table_row, positive), "isdiffpos": np.where(positive, "t", "f"),
        "tblid": table_row, "xpos": obs.column, "ypos": obs.row,
        "mindtoedge": edge_distance(obs.column, obs.row),
        "ra": np.round(obs.sources.ra + 3e-5 * random.normal("earlier ra", *keys), 7),
        "dec": np.round(obs.sources.dec + 3e-5 * random.normal("earlier dec", *keys), 7),
    }  # fmt: skip


def limits(random: KeyedRandom, past: AlertHistory) -> Columns:
    """Columns that every earlier exposure has, detection or not."""
    base = identifiers(past.obs)
    paths = archive_paths(file_stems(base))
    zero = zero_points(random, past.obs)
    zero.pop("exptime")
    return base | zero | {
        "diffmaglim": past.obs.exposures.limit, "pdiffimfilename": np.array(paths),
        "rbversion": np.full(len(past.row), RB_VERSION),
    }  # fmt: skip


def forced(random: KeyedRandom, past: AlertHistory, near: Columns) -> Columns:
    """Columns of `fp_hists`: forced photometry of the earlier exposures, with the sentinels where it failed."""
    obs = past.obs
    keys = moment(obs)
    base = identifiers(obs) | zero_points(random, obs)
    failed = random.uniform("forced failure", *keys) > FORCED_SHARE
    scaled = (obs.flux - obs.reference_flux) * obs.scale
    error = 0.55 * obs.exposures.flux_error(scaled)
    flux = scaled + error * random.normal("forced flux", *keys)
    catalogued = {
        name: near[name][past.row] for name in ("distnr", "magnr", "sigmagnr", "chinr", "sharpnr", "ranr", "decnr")
    }
    measured = catalogued | {"forcediffimflux": flux, "forcediffimfluxunc": error}
    for name in ("programpi", "nid"):
        base.pop(name)
    return base | {name: np.where(failed, MISSING_FORCED, column) for name, column in measured.items()} | {
        "rfid": obs.references.number, "sciinpseeing": obs.exposures.seeing, "scibckgnd": obs.exposures.sky,
        "scisigpix": 1.4 * obs.exposures.sigma, "diffmaglim": obs.exposures.limit,
        "adpctdif1": 0.07 * np.exp(0.1 * random.normal("astrometry ra", *keys)),
        "adpctdif2": 0.07 * np.exp(0.1 * random.normal("astrometry dec", *keys)),
        "procstatus": np.where(failed, "61", "0"),
    }  # fmt: skip
