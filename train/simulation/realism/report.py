"""The realism report: a page to read, the numbers as JSON, and plots of real against simulated alerts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from train.data.pickle_layouts import FEATURES
from train.reporting.tables import TextTable
from train.simulation.random import Floats
from train.simulation.realism.comparison import CHANNELS, Gallery, pixel_statistics
from train.simulation.sources.source import LABELS

SHOWN = 6  # alerts of each kind on a page of stamps
STATISTICS = ("noise", "peak / noise", "concentration", "correlation x")
PLOTTED_FIELDS = ("magpsf", "sigmapsf", "fwhm", "distnr", "magnr", "sgscore1", "distpsnr1", "chinr", "sharpnr", "rb")
COLOURS = {"real": "black", "simulated": "tab:orange"}

NOT_YET = """\
- The light curves of one object vary as its class does, but periods, amplitudes and hosts are drawn independently of
  each other: no period–luminosity relation, no host mass.
- Neighbouring stars do not vary, have no proper motion, and large galaxies appear as hosts only.
- Scores of other models (`rb`, `drb`, `classtar`) are drawn by class and brightness, not computed from the pixels.
- Sky positions are tangent-plane offsets within each field: consistent from night to night, but no real star is there.
- Asteroids move in a straight line within a night and are dealt to a new field every twelve nights: no orbits.
- Diffraction spikes, moonlight gradients and the resampling of the reference are left out.
"""


def _histogram(axes: Any, values: Mapping[str, Floats], title: str) -> None:
    finite = {name: v[np.isfinite(v) & (v > -900)] for name, v in values.items()}
    both = np.concatenate(list(finite.values()))
    if not len(both):
        axes.set_axis_off()
        return
    low, high = np.percentile(both, [1, 99])
    bins = np.linspace(low, high + 1e-9, 25)
    for name, v in finite.items():
        if len(v):
            axes.hist(
                np.clip(v, bins[0], bins[-1]), bins, density=True, histtype="step", color=COLOURS[name], label=name
            )
    axes.set_title(title, fontsize=8)
    axes.tick_params(labelsize=6)
    axes.set_yticks([])


def _pages(columns: int, names: Sequence[str], path: Path, fill: Any) -> None:
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.4 * columns, 1.9 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for place, axis in enumerate(axes.flat):
        if place < len(names):
            fill(axis, names[place])
        else:
            axis.set_axis_off()
    axes.flat[0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def plot_class(real: Gallery, made: Gallery, label: str, out: Path) -> None:
    """Histograms of pixel statistics and candidate fields, and a page of stamps, of one class."""
    code = LABELS.index(label)
    pair = {"real": real.of(code), "simulated": made.of(code)}
    pixels = {name: pixel_statistics(one.stamps) for name, one in pair.items()}
    names = [f"{channel} {what}" for channel in CHANNELS for what in STATISTICS]
    _pages(
        4, names, out / f"{label}_pixels.png",
        lambda axis, name: _histogram(axis, {which: pixels[which][name] for which in pair}, name),
    )  # fmt: skip
    place = {name: FEATURES.index(name) for name in PLOTTED_FIELDS}
    _pages(
        5, PLOTTED_FIELDS, out / f"{label}_fields.png",
        lambda axis, name: _histogram(axis, {w: one.fields[:, place[name]] for w, one in pair.items()}, name),
    )  # fmt: skip
    plot_stamps(pair, out / f"{label}_stamps.png")


def plot_stamps(pair: dict[str, Gallery], path: Path) -> None:
    """A few alerts of each kind, one a row, in three channels, grey levels from the 1st to the 99.5th percentile."""
    figure = Figure(figsize=(9, 1.55 * SHOWN))
    axes = figure.subplots(SHOWN, 6, squeeze=False)
    for half, (name, gallery) in enumerate(pair.items()):
        chosen = np.linspace(0, len(gallery.label) - 1, SHOWN).astype(int)
        for row, alert in enumerate(chosen):
            for channel in range(3):
                axis, image = axes[row, 3 * half + channel], gallery.stamps[alert, channel]
                low, high = np.nanpercentile(image, [1.0, 99.5])
                axis.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
                axis.set_xticks([])
                axis.set_yticks([])
                if row == 0:
                    axis.set_title(f"{name}: {CHANNELS[channel]}", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def plot_sizes(sizes: Mapping[str, Floats], path: Path) -> None:
    """Packet sizes in kB."""
    _pages(1, ["packet size / kB"], path, lambda axis, name: _histogram(axis, sizes, name))


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return TextTable("", [header, *([str(cell) for cell in row] for row in rows)]).markdown()


def realism_page(numbers: dict[str, Any]) -> str:
    """The report as Markdown."""
    columns = ("alerts", "simulated", "control", "forest AUC")
    accuracies = [[label, *(found[name] for name in columns)] for label, found in numbers["discriminability"].items()]
    learnt = numbers["transfer"]["learnt from"]
    by_class = numbers["transfer"]["by class"]
    scores = [[who, f"{learnt[who]:.3f}", *by_class[who]] for who in learnt]
    worst = [
        [label, ", ".join(f"{name} {value:.2f}" for name, value in sorted(found.items(), key=lambda kv: -kv[1])[:8])]
        for label, found in numbers["distances"].items()
    ]
    rates = [[name, *(f"{value:.3f}" for value in pair)] for name, pair in numbers["rates"].items()]
    plots = "\n".join(f"![{k} {w}]({k}_{w}.png)" for k in numbers["distances"] for w in ("stamps", "pixels", "fields"))
    return "\n\n".join([
        "# How real the simulated alerts are",
        "Accuracy of a fixed small network at telling stamps apart, 63×63, out of fold by object (0.5 is guessing):",
        _table(["class", "real alerts", "real or simulated", "real or control", "forest, AUC"], accuracies),
        "Macro-F1 on the real labelled alerts, image only, 21×21:",
        _table(["learnt from", "macro-F1", *LABELS], scores),
        "Rates and sizes:", _table(["", "real", "simulated"], rates),
        "Largest Kolmogorov–Smirnov distances:", _table(["class", "distances"], worst),
        "## What is not realistic yet", NOT_YET, "## Plots", "![packet sizes](packet_sizes.png)", plots,
    ]) + "\n"  # fmt: skip


def write_realism_report(
    numbers: dict[str, Any], real: Gallery, made: Gallery, sizes: Mapping[str, Floats], out: Path
) -> None:
    """Write report.md, report.json and the plots into an existing directory."""
    for label in numbers["distances"]:
        plot_class(real, made, label, out)
    plot_sizes(sizes, out / "packet_sizes.png")
    (out / "report.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(realism_page(numbers), encoding="utf-8")
