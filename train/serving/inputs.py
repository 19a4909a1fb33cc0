"""What `estampa-serve` learns from: archives of real alerts, simulated nights, sets of stamps."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from train.data.alert_table import AlertTable, joined, read_alert_table
from train.data.from_stamps import HOLDOUT, alerts_from_stamps
from train.data.labels import labels_beside, truth_beside
from train.data.pickle_layouts import load_stamps
from train.data.stamp_set import source_of
from train.experiments.experiment import ExperimentError
from train.serving.dataset import marked

ARCHIVES: Final = (".tar", ".tar.gz", ".tgz", ".avro")
STAMP_SETS: Final = (".npz", ".pkl", ".pk", ".pickle")
KINDS: Final = (
    f"give archives of alerts ({', '.join(ARCHIVES)}), a folder of them, or a set of stamps ({', '.join(STAMP_SETS)})"
)


@dataclass(frozen=True, slots=True)
class InputFiles:
    """real: archives with `labels.csv` near them, or no labels. skies: simulated nights, those of one sky together.

    stamps: sets of stamps, as pickles or .npz.
    """

    real: tuple[Path, ...]
    skies: tuple[tuple[Path, ...], ...]
    stamps: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """evaluated: what the folds are made of, real unless there is nothing real. origin: real, simulated or unstated.

    skies: simulated alerts beside it, never evaluated. holdout: validation and test of the sets of stamps, never
    learned from. sets: a description of each. prescaled: brightness is lost, for stamps were scaled before.
    """

    evaluated: AlertTable
    origin: str
    skies: tuple[AlertTable, ...] = ()
    holdout: Mapping[str, AlertTable] = field(default_factory=dict)
    sets: tuple[Mapping[str, Any], ...] = ()

    @property
    def prescaled(self) -> bool:
        return bool(self.sets)


def find_inputs(paths: Sequence[Path]) -> InputFiles:
    """Files and folders by their kind; nights with a truth table beside them are simulated.

    Nights of one folder are of one sky. Raises ExperimentError where there is nothing to read, or nothing known.
    """
    found = list({file.resolve(): file for path in paths for file in _files(path)}.values())
    if not found:
        raise ExperimentError(f"no archive of alerts in {', '.join(map(str, paths))}; {KINDS}")
    real, stamps, skies = [], [], defaultdict(list)
    for file in found:
        if file.name.endswith(STAMP_SETS):
            stamps.append(file)
        elif truth_beside(file).is_file():
            skies[file.parent].append(file)
        else:
            real.append(file)
    return InputFiles(tuple(real), tuple(tuple(nights) for nights in skies.values()), tuple(stamps))


def read_inputs(files: InputFiles, size: int, origin: str | None = None) -> TrainingInputs:
    """Everything, cut to `size` pixels. origin: of the sets of stamps; archives tell their own.

    Simulated alerts help real ones, or those of an unstated origin, and are evaluated where they are alone.
    Raises ExperimentError where nothing has a label or a file cannot be read.
    """
    if origin and not files.stamps:
        raise ExperimentError(
            f"--origin {origin} is of a set of stamps, and there is none: an archive is simulated where its truth "
            "table lies beside it, and real elsewhere"
        )
    real = [read_archives(files.real, size)] if files.real else []
    skies = [read_archives(sky, size) for sky in files.skies]
    kinds, holdout, described = ["real"] * bool(real), defaultdict(list), []
    for path in files.stamps:
        stamps = load_stamps(path)
        source = asdict(source_of(path, stamps, origin))
        from_set = alerts_from_stamps(stamps, size)
        if source["origin"] == "simulated":
            skies.append(from_set.train)
        else:
            real.append(from_set.train)
            kinds.append(source["origin"])
        for split, some in from_set.holdout.items():
            holdout[split].append(some)
        counts = {"train": len(from_set.train), **{split: len(some) for split, some in from_set.holdout.items()}}
        described.append(source | {"stamps": counts, "repeats": from_set.repeats})
    apart = {split: joined(holdout[split]) for split in HOLDOUT if split in holdout}
    real, skies = ([_unseen(some, apart) for some in kind] for kind in (real, skies))
    if not real:
        real, skies = [marked(sky, f"sky {place} ") for place, sky in enumerate(skies)], []
    evaluated = joined(real)
    if not evaluated.labelled.any():
        raise ExperimentError("no real alert has a label: put labels.csv (candid, label) beside its archive")
    return TrainingInputs(
        evaluated, " and ".join(dict.fromkeys(kinds)) or "simulated", tuple(skies), apart, tuple(described)
    )


def read_archives(archives: Sequence[Path], size: int) -> AlertTable:
    """Alerts of archives with the labels that lie beside them. Raises ExperimentError on one that cannot be read."""
    try:
        labels = {candid: label for archive in archives for candid, label in labels_beside(archive).items()}
        return read_alert_table(archives, labels, size)[0]
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def _unseen(some: AlertTable, holdout: Mapping[str, AlertTable]) -> AlertTable:
    """`some` without objects and images of validation and test, which nothing is learned from."""
    if not holdout:
        return some
    held = joined(list(holdout.values()))
    names = np.isin(some.object_id, held.object_id)
    return some.only(~(names | np.isin(some.candid, held.candid)))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        archives = (file for kind in ARCHIVES for file in path.glob(f"*{kind}"))
        yield from sorted([*archives, *path.glob("containers/*.avro")])
    elif not path.is_file():
        raise ExperimentError(f"there is no file or folder {path}; {KINDS}")
    elif path.name.endswith((*ARCHIVES, *STAMP_SETS)):
        yield path
    else:
        raise ExperimentError(f"{path} is of no known kind; {KINDS}")
