"""What raises alerts: objects with a place, a host, a mean brightness and a light curve, as columns."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from model_zoo.coordinates import galactic
from train.simulation.random import Floats, Ints, KeyedRandom
from train.simulation.survey import CHANNELS, QUADRANT_COLUMNS, QUADRANT_ROWS, crowding, position
from train.simulation.survey import fields as sky_fields

LABELS = ("AGN", "SN", "VS", "asteroid", "bogus")
SUBCLASSES: dict[str, tuple[str, ...]] = {
    "AGN": ("QSO", "blazar", "Seyfert"),
    "SN": ("Ia", "II", "IIn", "Ic"),
    "VS": ("RRL", "EB", "LPV", "CV", "DSCT", "rotating"),
    "asteroid": ("main belt", "near Earth", "trojan"),
    "bogus": (
        "cosmic ray", "hot pixel", "dead pixel", "dipole", "residual",
        "bleed", "bad column", "edge", "ghost", "streak",
    ),
}  # fmt: skip
NO_MAGNITUDE = 99.0
ZERO_POINT = 26.0  # of the fluxes that light curves return; exposures have their own
# Detections closer to the border than this are dropped by the survey's pipeline.
BORDER_PIXELS = 10.5
HOME_MARGIN = 30.0  # the pointing's scatter then cuts 0.8 % of the stamps, as in life
FIELD_DECK = 8192


@dataclass(frozen=True, slots=True)
class Sources:
    """Objects of one class, one row each.

    `key` and `cycle` name the object (all else follows from them and the seed). `column`, `row` are pixels on the
    quadrant; magnitudes are (g, r) pairs; the host lies at (`host_dx`, `host_dy`) pixels from the source. What drives
    the change is in four columns, whose meaning is the class's own:
    SN: `amplitude` peak magnitude, `epoch` date of the peak, `period` days of the light curve for one of the template;
    AGN: `amplitude` standard deviation in magnitudes, `period` damping time in days;
    VS: `amplitude` range in magnitudes, `period` days, `epoch` phase, `width` of an eclipse in phase;
    asteroid: `amplitude` r magnitude, `period` pixels an hour, `epoch` heading in radians;
    bogus: `amplitude` strength in pixel sigmas, `epoch` angle in radians, `period` size from 0 to 1.
    """

    label: Ints
    subclass: Ints
    key: Ints
    cycle: Ints
    slot: Ints
    field: Ints
    channel: Ints
    column: Floats
    row: Floats
    ra: Floats
    dec: Floats
    mean_g: Floats
    mean_r: Floats
    host_g: Floats
    host_r: Floats
    host_radius: Floats
    host_index: Floats
    host_axis_ratio: Floats
    host_angle: Floats
    host_dx: Floats
    host_dy: Floats
    redshift: Floats
    period: Floats
    amplitude: Floats
    epoch: Floats
    width: Floats
    crowd: Floats

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: Ints) -> Self:
        """The rows chosen, in that order."""
        return replace(self, **{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def mean(self, band: Ints) -> Floats:
        """Mean magnitude of the point source in each row's filter."""
        return np.where(band == 1, self.mean_g, self.mean_r)

    def host(self, band: Ints) -> Floats:
        """Magnitude of the host in each row's filter; 99 where there is none."""
        return np.where(band == 1, self.host_g, self.host_r)


def concatenate_sources(parts: list[Sources]) -> Sources:
    """One table of all rows, part after part."""
    return Sources(**{c.name: np.concatenate([getattr(part, c.name) for part in parts]) for c in fields(Sources)})


def field_deck(weights: Floats) -> tuple[Ints, Ints]:
    """A deck of 8,192 cards, each a field and its copy number, fields in proportion to their weights.

    Dealing objects to (card, channel) keeps (field, channel, copy) unique, hence `candid` unique by construction.
    """
    share = np.cumsum(weights) / np.sum(weights)
    field = np.searchsorted(share, (np.arange(FIELD_DECK) + 0.5) / FIELD_DECK).astype(np.int64)
    first = np.searchsorted(field, field, side="left")
    return field, np.arange(FIELD_DECK) - first


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies: field index, readout channel, pixel, sky position in degrees, unique slot."""

    field: Ints
    channel: Ints
    column: Floats
    row: Floats
    ra: Floats
    dec: Floats
    slot: Ints


def place_sources(
    random: KeyedRandom, name: str, weights: Floats, key: Ints, cycle: Ints, stay: Ints | int = 0
) -> Place:
    """Deal objects to quadrants, anew for each `stay`; the pixel within the quadrant is uniform."""
    field, copy = field_deck(weights)
    card = (key * 2731 + random.integers(FIELD_DECK, name, stay)) % FIELD_DECK
    dealt = key // FIELD_DECK
    channel = (dealt + random.integers(CHANNELS, f"{name} channel", card)) % CHANNELS
    column = random.between(HOME_MARGIN, QUADRANT_COLUMNS - HOME_MARGIN, f"{name} column", key, cycle)
    row = random.between(HOME_MARGIN, QUADRANT_ROWS - HOME_MARGIN, f"{name} row", key, cycle)
    ra, dec = position(field[card], channel, column, row)
    slot = copy[card] + (dealt // CHANNELS) * (int(copy.max()) + 1)
    return Place(field[card], channel, column, row, ra, dec, slot)


def uniform_weights() -> Floats:
    """Equal weights for all fields."""
    return np.ones(len(sky_fields().number))


def assemble(label: str, key: Ints, cycle: Ints, where: Place, **columns: Floats | Ints) -> Sources:
    """Rows of one class from their place and the columns given; the others say "nothing there"."""
    blank = np.zeros(len(key))
    dark = np.full(len(key), NO_MAGNITUDE)
    defaults: dict[str, Floats | Ints] = dict.fromkeys((column.name for column in fields(Sources)), blank)
    defaults |= dict.fromkeys(("mean_g", "mean_r", "host_g", "host_r"), dark)
    defaults |= {"host_axis_ratio": blank + 1.0, "host_radius": blank + 1.0, "host_index": blank + 1.0}
    defaults |= {column.name: getattr(where, column.name) for column in fields(Place)}
    defaults |= {"label": np.full(len(key), LABELS.index(label)), "key": key, "cycle": cycle}
    defaults["crowd"] = crowding(galactic(where.ra, where.dec)[1])
    return Sources(**(defaults | columns))  # type: ignore[arg-type]  # both kinds of column, by name


def flux_of(magnitude: Floats) -> Floats:
    """Flux in DN at zero point 26; magnitude 99 gives none."""
    return np.where(magnitude < 90.0, 10.0 ** (-0.4 * (np.minimum(magnitude, 90.0) - ZERO_POINT)), 0.0)
