"""The picture in README: the surest alert of each class of a simulated night, its stamps and its record.

`python -m tests.bench.picture NIGHT.tar.gz OUT.png`
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from astropy.visualization import ZScaleInterval
from matplotlib.figure import Figure
from numpy.typing import NDArray

from consumer.archive.source import ArchiveSource, find_archives
from consumer.cli.runtime import load_inference, open_store, with_store
from consumer.configuration.load import load_settings
from consumer.embedded import local_store
from consumer.monitoring.health import Heartbeat
from consumer.pipeline import Pipeline
from consumer.results import Classification, Results
from model_zoo.classes import CLASSES
from model_zoo.preprocess import CHANNELS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999")  # Okabe and Ito: seen by colour-blind readers too


class Surest:
    """A sink that keeps the surest classification of each class."""

    def __init__(self) -> None:
        self.best: dict[str, Classification] = {}

    def publish(self, results: Results) -> None:
        for made in results.classifications:
            known = self.best.get(made.class_)
            if not made.flags and (known is None or made.probability > known.probability):
                self.best[made.class_] = made

    def close(self) -> None:
        """Nothing is open."""


def main(night: Annotated[Path, typer.Argument()], out: Annotated[Path, typer.Argument()]) -> None:
    inference, sink = load_inference(load_settings().model), Surest()
    with local_store() as url:
        settings = with_store(load_settings(), url)
        store = open_store(settings, inference, "picture")
        source = ArchiveSource(find_archives([night]), settings.batch.size)
        pipeline = Pipeline(settings, source, inference, store, sink, Heartbeat(60))
        pipeline.run()
        store.close()
    places = {(made.topic, made.offset): made for made in sink.best.values()}
    stamps: dict[str, NDArray[np.float32]] = {}
    for batch in ArchiveSource(find_archives([night]), settings.batch.size).batches():
        for item in pipeline.decode(batch).alerts:
            if (item.message.topic, item.message.offset) in places:
                stamps[places[item.message.topic, item.message.offset].class_] = item.stamps.pixels
    draw([(sink.best[name], stamps[name]) for name in CLASSES if name in stamps]).savefig(out, dpi=80)


def draw(rows: list[tuple[Classification, NDArray[np.float32]]]) -> Figure:
    """A row an alert: three stamps (3, S, S), the probabilities of the classes, and what the record says."""
    figure = Figure(figsize=(9, 1.25 * len(rows)), layout="constrained")
    axes: Any = figure.subplots(len(rows), 5, width_ratios=[1, 1, 1, 2, 2.6], squeeze=False)
    for row, (made, stamps) in zip(axes, rows, strict=True):
        for axis, plane, channel in zip(row, stamps, CHANNELS, strict=False):
            low, high = ZScaleInterval().get_limits(plane)
            axis.imshow(plane, cmap="gray", origin="lower", vmin=low, vmax=high)
            axis.set(xticks=[], yticks=[], title=channel if made is rows[0][0] else "")
        row[3].barh(list(made.probabilities), list(made.probabilities.values()), color=COLOURS)
        row[3].set(xlim=(0, 1), xticks=[0, 1])
        row[3].invert_yaxis()
        row[4].text(0, 0.5, said(made), va="center", fontsize=9)
        row[4].axis("off")
    return figure


def said(made: Classification) -> str:
    return (
        f"{made.class_}  {made.probability:.2f}\n{made.objectId}\nra {made.ra:.4f}  dec {made.dec:.4f}\n"
        f"{made.band} = {made.magnitude:.2f} ± {made.magnitude_error:.2f}"
    )


if __name__ == "__main__":
    typer.run(main)
