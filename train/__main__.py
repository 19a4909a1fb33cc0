"""`estampa-train`: everything offline. Each group of commands lives in its own module; this one assembles them."""

import signal
import sys
from types import FrameType

import typer

from consumer.cli.options import Version, check_words
from consumer.errors import ConfigError, OutputError
from consumer.terminal import prepare_streams, to_stdout
from train.cli import datasets, experiments
from train.cli import simulate as simulation
from train.terminal import fail

app = typer.Typer(
    help="Simulate alerts, make data sets, train, compare.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(version: Version = False) -> None:
    """Options before a command."""


app.add_typer(simulation.app, name="simulate")
app.add_typer(datasets.app, name="dataset")
app.add_typer(experiments.app)


def _terminated(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Entry point of the console script; a SIGTERM unwinds like an error, so that no half file or process is left."""
    signal.signal(signal.SIGTERM, _terminated)
    prepare_streams()
    try:
        check_words(sys.argv[1:])
        with to_stdout():  # help is printed by the library
            app()
    except (ConfigError, OutputError) as error:
        sys.exit(fail(error).exit_code)


if __name__ == "__main__":
    main()
