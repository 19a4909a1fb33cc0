"""The truth beside a night: one row a packet, in the order they leave."""

import numpy as np
import pyarrow as pa

from train.simulation.arrays import Columns
from train.simulation.images.observation import Shots, significance
from train.simulation.packets.calibration import identifiers
from train.simulation.sources.source import LABELS, SUBCLASSES

SCHEMA = pa.schema(
    [
        ("position", pa.int64()), ("candid", pa.int64()), ("objectId", pa.string()),
        ("class", pa.string()), ("subclass", pa.string()), ("faults", pa.string()),
        ("jd", pa.float64()), ("fid", pa.int32()), ("field", pa.int32()), ("rcid", pa.int32()),
        ("ra", pa.float64()), ("dec", pa.float64()),
        ("key", pa.int64()), ("cycle", pa.int64()),
        ("difference_flux", pa.float64()), ("signal_to_noise", pa.float64()),
        ("mean_g", pa.float64()), ("mean_r", pa.float64()),
        ("period", pa.float64()), ("amplitude", pa.float64()), ("epoch", pa.float64()), ("width", pa.float64()),
        ("redshift", pa.float64()),
        ("host_g", pa.float64()), ("host_r", pa.float64()), ("host_radius", pa.float64()), ("host_index", pa.float64()),
        ("host_dx", pa.float64()), ("host_dy", pa.float64()),
        ("seeing", pa.float64()), ("zero_point", pa.float64()), ("sky", pa.float64()), ("ssnamenr", pa.string()),
        ("nan_pixels", pa.int32()), ("packet_bytes", pa.int32()),
    ]
)  # fmt: skip


def _classes(shots: Shots) -> Columns:
    names = [LABELS[code] for code in shots.sources.label]
    kinds = [SUBCLASSES[name][code] for name, code in zip(names, shots.sources.subclass, strict=True)]
    return {"class": np.array(names), "subclass": np.array(kinds)}


def columns(shots: Shots) -> Columns:
    """What is true of each shot, whatever its packet says: fluxes in DN of its exposure, lengths in pixels.

    `Sources` says what period, amplitude, epoch and width mean in each class.
    """
    source, exposure = shots.sources, shots.exposures
    base = identifiers(shots)
    own = ("mean_g", "mean_r", "period", "amplitude", "epoch", "width", "redshift", "ra", "dec", "key", "cycle")
    host = ("host_g", "host_r", "host_radius", "host_index", "host_dx", "host_dy")
    return _classes(shots) | {name: base[name] for name in ("jd", "fid", "field", "rcid")} | {
        name: getattr(source, name) for name in own + host
    } | {
        "difference_flux": (shots.flux - shots.reference_flux) * shots.scale,
        "signal_to_noise": significance(shots),
        "seeing": exposure.seeing, "zero_point": exposure.zero_point, "sky": exposure.sky,
    }  # fmt: skip


def table(rows: Columns) -> pa.Table:
    """The columns as a table of `SCHEMA`."""
    return pa.table(
        {name: pa.array(rows[name].tolist(), type=SCHEMA.field(name).type) for name in SCHEMA.names},
        schema=SCHEMA,
    )
