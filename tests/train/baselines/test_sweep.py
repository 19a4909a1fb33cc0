"""A search over settings: which points, in what order, and that nothing is run twice."""

import json
from pathlib import Path

import pytest
import torch

from tests.train.seeds import single, write
from train.baselines import sweep as sweeping
from train.baselines.launch import Trial
from train.baselines.sweep import read_grid, sweep
from train.data.pickle_layouts import read_layout
from train.data.stamp_set import StampSet, StampSource
from train.experiments.experiment import Experiment, ExperimentError, changed, read_experiment

GRID = ["rate=1e-3,1e-4", "batch=20,30"]
SOURCE = StampSource("test", "0", "simulated")


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> StampSet:
    return read_layout(write(tmp_path_factory.mktemp("sweep") / "stamp_dataset_21_new.pkl", single()))


@pytest.fixture
def experiment() -> Experiment:
    return read_experiment("seed000-clasificador-v1", ["seeds=1", "epochs=2"])[0]


def search(
    experiment: Experiment, stamps: StampSet, grid: list[str], out: Path, source: StampSource = SOURCE
) -> list[str]:
    """Names of the points in the table's order."""
    table = sweep(experiment, stamps, source, read_grid(grid, None, 1), out, Trial(torch.device("cpu"), umap=False))
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
        return launch(*arguments)  # type: ignore[arg-type]

    launch = sweeping.launch
    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "launch", stopped)
        with pytest.raises(KeyboardInterrupt):
            search(experiment, stamps, GRID[:1], tmp_path / "parts")
    assert search(experiment, stamps, GRID[:1], tmp_path / "parts") == whole
    weights = [torch.load(tmp_path / out / whole[0] / "seed-1" / "last.pt") for out in ("whole", "parts")]
    assert all(torch.equal(weights[0]["model"][name], weights[1]["model"][name]) for name in weights[0]["model"])


def test_points_of_other_data_or_settings_are_refused_and_not_passed_off(
    experiment: Experiment, stamps: StampSet, tmp_path: Path
) -> None:
    search(experiment, stamps, GRID[:1], tmp_path)
    with pytest.raises(ExperimentError, match="holds a run with fingerprint = '0', and '1' is asked for; give another"):
        search(experiment, stamps, GRID[:1], tmp_path, StampSource("test", "1", "simulated"))
    with pytest.raises(ExperimentError, match="holds a run with batch = 64, and 30 is asked for; give another --out"):
        search(changed(experiment, {"batch": 30}), stamps, GRID[:1], tmp_path)


def test_points_asked_for_at_greater_length_go_on(experiment: Experiment, stamps: StampSet, tmp_path: Path) -> None:
    search(experiment, stamps, GRID[:1], tmp_path)
    longer = changed(experiment, {"epochs": 3})
    names = search(longer, stamps, GRID[:1], tmp_path)
    summaries = [json.loads((tmp_path / name / "summary.json").read_text(encoding="utf-8")) for name in names]
    assert [summary["epochs"] for summary in summaries] == [[3], [3]]


def test_a_search_says_where_it_is_what_its_data_is_and_leaves_points_to_read(
    experiment: Experiment, stamps: StampSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = read_grid(GRID[:1], None, 1)
    table = sweep(experiment, stamps, SOURCE, points, tmp_path, Trial(torch.device("cpu"), umap=False))
    assert table.title == "seed000-clasificador-v1 on test (simulated)"
    said = capsys.readouterr().err.splitlines()
    assert said == ["1 of 2: rate=1e-3", "2 of 2: rate=1e-4"]
    for name in ("rate=1e-3", "rate=1e-4"):
        assert "ours (simulated data)" in (tmp_path / name / "table.md").read_text(encoding="utf-8")
        assert (tmp_path / name / "report.html").is_file()


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["rate"], "key=a,b,c is needed"),
        (["rats=1,2"], "'rats'; did you mean rate"),
        (["rate=1,2", "cell=gru,rnn"], "--grid cell changes nothing: classifier does not read it"),
    ],
)
def test_a_wrong_axis_is_named_before_anything_is_run(
    grid: list[str], message: str, experiment: Experiment, stamps: StampSet, tmp_path: Path
) -> None:
    with pytest.raises(ExperimentError, match=message):
        search(experiment, stamps, grid, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_served_model_is_no_point_of_a_search(stamps: StampSet, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="estampa-serve cannot be searched"):
        search(read_experiment("estampa-serve")[0], stamps, ["teachers=0,1"], tmp_path / "none")
    assert not (tmp_path / "none").exists()
