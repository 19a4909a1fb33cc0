"""One alert's moment: an object caught on an exposure, with the reference it is compared to; columns of one length."""

from dataclasses import dataclass, fields

import numpy as np

from train.simulation.images.exposure import Exposures, References, exposures, references
from train.simulation.random import Floats, Ints, KeyedRandom, Mask
from train.simulation.sources import population
from train.simulation.sources.source import BORDER_PIXELS, LABELS, SUBCLASSES, ZERO_POINT, Sources
from train.simulation.survey import QUADRANT_COLUMNS, QUADRANT_ROWS
from train.simulation.survey import fields as sky_fields

DITHER_PIXELS = 14.0  # scatter of the telescope's pointing from visit to visit


@dataclass(frozen=True, slots=True)
class Observations:
    """What is needed to draw alerts: object, exposure, reference, pixel on the quadrant, fluxes at zero point 26."""

    sources: Sources
    exposures: Exposures
    references: References
    column: Floats
    row: Floats
    flux: Floats
    reference_flux: Floats
    host_flux: Floats

    def __len__(self) -> int:
        return len(self.column)

    @property
    def scale(self) -> Floats:
        """DN of the exposure for one DN at zero point 26."""
        return 10.0 ** (0.4 * (self.exposures.zero_point - ZERO_POINT))

    @property
    def fraction(self) -> tuple[Floats, Floats]:
        """Pixels along x and y from the middle of the stamp's central pixel to the source."""
        return self.column - np.floor(self.column + 0.5), self.row - np.floor(self.row + 0.5)

    def take(self, rows: Ints) -> "Observations":
        """The rows chosen, in that order."""
        parts = {"sources": self.sources.take(rows), "exposures": self.exposures.take(rows)}
        chosen = References(**{c.name: getattr(self.references, c.name)[rows] for c in fields(References)})
        rest = {n: getattr(self, n)[rows] for n in ("column", "row", "flux", "reference_flux", "host_flux")}
        return Observations(**parts, references=chosen, **rest)  # type: ignore[arg-type]  # columns by name


def dithered(random: KeyedRandom, sources: Sources, night: Ints, band: Ints) -> tuple[Floats, Floats]:
    """Pixel (column, row), from 1, on which each source falls on an exposure of its field."""
    places = []
    for name, home, size in (
        ("column", sources.column, QUADRANT_COLUMNS),
        ("row", sources.row, QUADRANT_ROWS),
    ):
        moved = home + DITHER_PIXELS * random.normal(f"dither {name}", sources.field, night, band)
        places.append(np.clip(moved, BORDER_PIXELS, size - BORDER_PIXELS))
    return places[0], places[1]


def observe(random: KeyedRandom, sources: Sources, night: Ints, band: Ints, jd: Floats) -> Observations:
    """The observations of each source on the exposure of its field at (night, band, jd)."""
    column, row = dithered(random, sources, night, band)
    host = sources.host(band)
    return Observations(
        sources=sources,
        exposures=exposures(random, sources.field, night, band, jd),
        references=references(random, sources.field, sky_fields().number[sources.field], sources.channel, band),
        column=column,
        row=row,
        flux=population.source_flux(random, sources, jd, band),
        reference_flux=population.reference_flux(sources, band),
        host_flux=np.where(host < 90.0, 10.0 ** (-0.4 * (np.minimum(host, 90.0) - ZERO_POINT)), 0.0),
    )


def significance(obs: Observations) -> Floats:
    """Signed signal-to-noise ratio of the difference, by the pipeline's error model.

    1.2 % of what stays the same is charged as error: a bright star must vary by 6 % to be seen to.
    """
    difference = (obs.flux - obs.reference_flux) * obs.scale
    steady = (np.minimum(obs.flux, obs.reference_flux) + obs.host_flux * 0.25) * obs.scale
    error = np.hypot(obs.exposures.flux_error(difference), 0.012 * steady)
    result: Floats = difference / np.hypot(error, np.sqrt(steady / 5.8))
    return result


def is_kind(obs: Observations, *kinds: str) -> Mask:
    """Rows that are artefacts of one of the kinds named."""
    codes = [SUBCLASSES["bogus"].index(kind) for kind in kinds]
    mask: Mask = (obs.sources.label == LABELS.index("bogus")) & np.isin(obs.sources.subclass, codes)
    return mask


def moment(obs: Observations) -> tuple[Ints, ...]:
    """Keys that tell one observation from all others."""
    return (obs.sources.label, obs.sources.key, obs.exposures.night, obs.exposures.band)
