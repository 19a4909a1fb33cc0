"""`estampa-train dataset …`: data sets from archived alerts and a table of labels."""

from pathlib import Path
from typing import Annotated

import typer

from consumer import terminal
from train.files import check_free
from train.terminal import console, fail

app = typer.Typer(help="Data sets from archived alerts, and what is in them.", no_args_is_help=True)


@app.command()
def build(
    archives: Annotated[list[Path], typer.Argument(help="tar, tar.gz, directories of .avro, or containers.")],
    labels: Annotated[Path, typer.Option(help="CSV table with the columns candid and label.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    size: Annotated[int, typer.Option(min=3, max=63, help="Side of the cut around the source, pixels.")] = 21,
    seed: Annotated[int, typer.Option(min=0, help="Of the split by object.")] = 1,
    sequences: Annotated[int, typer.Option(min=0, help="Make sequences of up to so many alerts an object.")] = 0,
) -> None:
    """Make a data set with the decode and the preprocessing that serve, split by object."""
    from consumer.errors import EstampaError
    from model_zoo.preprocess import Preprocessing
    from train.data.alert_table import table_of
    from train.data.from_archive import alert_set, collect, sequence_set
    from train.data.labels import origin_of, read_labels

    try:
        check_free(out, ".npz")
        known, preprocessing, origin = read_labels(labels), Preprocessing(size), origin_of(archives)
        examples, report = collect(archives, known, preprocessing)
        table = table_of(examples, known)
        if sequences:
            stamps = sequence_set(table, preprocessing, seed, sequences, origin)
        else:
            stamps = alert_set(table, preprocessing, seed, origin)
        stamps.save(out)
    except (ValueError, OSError, EstampaError) as error:
        raise fail(error) from error
    refused = ", ".join(f"{count} {reason}" for reason, count in report.refused.items()) or "none"
    console.print(
        f"{report.read} alerts read: {report.kept} kept, {report.repeated} repeated, {report.unlabelled} without a "
        f"label, refused: {refused} → {out} ({origin})",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A data set (.npz), or one of the seeds' pickles.")],
    page: Annotated[Path | None, typer.Option(help="Write a page of stamps to this PNG file.")] = None,
    layout: Annotated[str | None, typer.Option(help="Of a pickle; by default the one its arrays have.")] = None,
    channels: Annotated[str | None, typer.Option(help="Order of a pickle's channels, comma-separated.")] = None,
) -> None:
    """Describe a data set: arrays, classes by split, repeats and leaks, value ranges; and show a page of stamps."""
    from consumer.errors import OutputError
    from consumer.writable import check_files
    from train.data.inspection import draw_page
    from train.data.inspection import inspect as inspect_stamps
    from train.data.pickle_layouts import read_layout
    from train.data.stamp_set import StampSet

    out = terminal.console()
    try:
        check_files({"--page": page}, [path], overwrite=True)
        order = tuple(channels.split(",")) if channels else None
        stamps = StampSet.load(path) if path.suffix == ".npz" else read_layout(path, layout, order)
        for line in inspect_stamps(stamps).lines():
            out.print(line, highlight=False)
        if page is not None:
            draw_page(stamps, page)
    except (ValueError, OSError, OutputError) as error:
        raise fail(error) from error
