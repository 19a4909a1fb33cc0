"""A search over settings: which points, in what order, and that nothing is run twice."""

from pathlib import Path

import pytest
import torch

from tests.train.seeds import single, write
from train import sweep as sweeping
from train.experiment import Experiment, ExperimentError, read_experiment
from train.layouts import read_layout
from train.run import Source
from train.stamp_set import StampSet
from train.sweep import read_grid, sweep

GRID = ["rate=1e-3,1e-4", "batch=20,30"]
SOURCE = Source("test", "0", "simulated")


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> StampSet:
    return read_layout(write(tmp_path_factory.mktemp("sweep") / "stamp_dataset_21_new.pkl", single()))


@pytest.fixture
def experiment() -> Experiment:
    return read_experiment("seed000-clasificador-v1", ["seeds=1", "epochs=2"])[0]


def search(experiment: Experiment, stamps: StampSet, grid: list[str], out: Path) -> list[str]:
    """Names of the points in the table's order."""
    table = sweep(experiment, stamps, SOURCE, read_grid(grid, None, 1), out, torch.device("cpu"))
    return list(table.columns[0].cells)


def test_a_grid_is_every_combination_and_a_draw_some_of_them_the_same_each_time() -> None:
    points = read_grid(GRID, None, 1)
    assert len(points) == 4
    assert {tuple(point.items()) for point in points} == {
        (("rate", rate), ("batch", batch)) for rate in ("1e-3", "1e-4") for batch in ("20", "30")
    }
    drawn = read_grid(GRID, 2, 7)
    assert drawn == read_grid(GRID, 2, 7)
    assert all(point in points for point in drawn)
    assert len(read_grid(GRID, 50, 7)) == 4


def test_points_are_ordered_by_validation_and_none_is_run_twice(
    experiment: Experiment, stamps: StampSet, tmp_path: Path
) -> None:
    names = search(experiment, stamps, GRID, tmp_path)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/summary.json")}
    (tmp_path / names[2] / "summary.json").unlink()
    assert search(experiment, stamps, GRID, tmp_path) == names
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/summary.json")}
    assert [path.parent.name for path in before if before[path] != after[path]] == [names[2]]


def test_a_search_that_was_stopped_goes_on_to_the_same_end(
    experiment: Experiment, stamps: StampSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(experiment, stamps, GRID[:1], tmp_path / "whole")
    made: list[Path] = []

    def stopped(*arguments: object) -> object:
        if made:
            raise KeyboardInterrupt
        made.append(arguments[3])  # type: ignore[arg-type]
        return run(*arguments)  # type: ignore[arg-type]

    run = sweeping.run
    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            search(experiment, stamps, GRID[:1], tmp_path / "parts")
    assert search(experiment, stamps, GRID[:1], tmp_path / "parts") == whole
    weights = [torch.load(tmp_path / out / whole[0] / "seed-1" / "last.pt") for out in ("whole", "parts")]
    assert all(torch.equal(weights[0]["model"][name], weights[1]["model"][name]) for name in weights[0]["model"])


@pytest.mark.parametrize(
    ("grid", "message"), [(["rate"], "key=a,b,c is needed"), (["rats=1,2"], "'rats'; did you mean rate")]
)
def test_a_wrong_axis_is_named_before_anything_is_run(
    grid: list[str], message: str, experiment: Experiment, stamps: StampSet, tmp_path: Path
) -> None:
    with pytest.raises(ExperimentError, match=message):
        search(experiment, stamps, grid, tmp_path / "none")
    assert not (tmp_path / "none").exists()
