"""A search over settings: which points, in what order, and that nothing is run twice."""

import json
import re
from pathlib import Path

import pytest
import torch

from tests.train.seeds import single, write
from train.baselines import launch as launching
from train.baselines.launch import Trial, sweep
from train.data.pickle_layouts import read_layout
from train.data.stamp_set import StampSet, StampSource
from train.experiments.catalogue import read_experiment, read_grid
from train.experiments.experiment import Experiment, ExperimentError, changed

GRID = ["lr=1e-3,1e-4", "batch_size=20,30"]
SOURCE = StampSource("test", "0", "simulated")


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> StampSet:
    return read_layout(write(tmp_path_factory.mktemp("sweep") / "stamp_dataset_21_new.pkl", single()))


@pytest.fixture
def experiment() -> Experiment:
    return read_experiment("clasificador-v1", ["seeds=1", "epochs=2"])[0]


def search(
    experiment: Experiment, stamps: StampSet, grid: list[str], out: Path, source: StampSource = SOURCE
) -> list[str]:
    """Names of the points in the table's order."""
    table = sweep(experiment, stamps, source, read_grid(grid, None, 1), out, Trial(torch.device("cpu"), umap=False))
    return list(table.columns[0].cells)


def numbered(printed: str) -> list[str]:
    """The line with which each point begins."""
    return [line for line in printed.splitlines() if re.match(r"\d of \d: ", line)]


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

    launch = launching.launch
    with monkeypatch.context() as patch:
        patch.setattr(launching, "launch", stopped)
        with pytest.raises(KeyboardInterrupt):
            search(experiment, stamps, GRID[:1], tmp_path / "parts")
    assert search(experiment, stamps, GRID[:1], tmp_path / "parts") == whole
    weights = [torch.load(tmp_path / out / whole[0] / "seed-1" / "last.pt") for out in ("whole", "parts")]
    assert all(torch.equal(weights[0]["model"][name], weights[1]["model"][name]) for name in weights[0]["model"])


def test_points_of_other_data_or_settings_are_refused_and_not_passed_off(
    experiment: Experiment, stamps: StampSet, tmp_path: Path
) -> None:
    search(experiment, stamps, GRID[:1], tmp_path)
    with pytest.raises(ExperimentError, match="holds a run with fingerprint = '0', and '1' is requested; give another"):
        search(experiment, stamps, GRID[:1], tmp_path, StampSource("test", "1", "simulated"))
    with pytest.raises(ExperimentError, match="a run with batch_size = 64, and 30 is requested; give another --out"):
        search(changed(experiment, {"batch_size": 30}), stamps, GRID[:1], tmp_path)


def test_points_asked_for_at_greater_length_go_on_and_say_so(
    experiment: Experiment, stamps: StampSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(experiment, stamps, GRID[:1], tmp_path)
    longer = changed(experiment, {"epochs": 3})
    capsys.readouterr()
    names = search(longer, stamps, GRID[:1], tmp_path)
    continued = "(goes on: epochs was 2, is 3)"
    assert numbered(capsys.readouterr().err) == [f"1 of 2: lr=1e-3 {continued}", f"2 of 2: lr=1e-4 {continued}"]
    summaries = [json.loads((tmp_path / name / "summary.json").read_text(encoding="utf-8")) for name in names]
    assert [summary["epochs"] for summary in summaries] == [[3], [3]]


def test_a_search_says_where_it_is_what_its_data_is_and_leaves_points_to_read(
    experiment: Experiment, stamps: StampSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = read_grid(GRID[:1], None, 1)
    table = sweep(experiment, stamps, SOURCE, points, tmp_path, Trial(torch.device("cpu"), umap=False))
    assert table.title == "clasificador-v1 on test (simulated)"
    assert numbered(capsys.readouterr().err) == ["1 of 2: lr=1e-3", "2 of 2: lr=1e-4"]
    for name in ("lr=1e-3", "lr=1e-4"):
        assert "ours (simulated data)" in (tmp_path / name / "table.md").read_text(encoding="utf-8")
        assert (tmp_path / name / "report.html").is_file()


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["lr"], "key=a,b,c is needed"),
        (["lrs=1,2"], "'lrs'; did you mean lr"),
        (["lr=1,2", "cell=gru,rnn"], "--grid cell changes nothing: classifier does not read it"),
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
