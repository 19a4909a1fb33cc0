"""A folder that holds a run: what goes on, what is refused, what begins anew."""

import json
from pathlib import Path

import pytest

from tests.train.cli.test_experiments import CHEAP, SHORT, invoke
from tests.train.seeds import single, write
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import ExperimentError
from train.experiments.run_folder import check_data, check_settings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "stamp_dataset_21_new.pkl", single())


@pytest.fixture(scope="module")
def finished_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[object, ...]]:
    """Folder of a run of one epoch, and the arguments that made it."""
    out = tmp_path_factory.mktemp("finished")
    arguments = ("run", CHEAP, "--data", data, "--out", out, "--no-umap", *SHORT)
    assert invoke(*arguments).exit_code == 0
    return out / CHEAP, arguments


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs=2", "epochs = 1, and 2 is requested; add --resume to go on with it, give another --out, or run with"),
        ("seeds=2", "seeds = 1, and 2 is requested; add --resume to go on with it, give another --out, or run with"),
        ("patience=20", "patience = 15, and 20 is requested; add --resume to go on with it, give another --out"),
        ("patience=5", "patience = 15, and 5 is requested; give another --out, or run with --overwrite to begin anew"),
        (
            "batch_size=50",
            "batch_size = 64, and 50 is requested; give another --out, or run with --overwrite",
        ),
    ],
)
def test_a_run_with_other_settings_is_refused_without_resume_and_changes_nothing(
    finished_run: tuple[Path, tuple[object, ...]], setting: str, message: str
) -> None:
    folder, arguments = finished_run
    before = content(folder)
    found = invoke(*arguments, "--set", setting)
    assert found.exit_code == 2
    assert f"{folder} holds a run with {message}" in found.output
    assert content(folder) == before
    assert invoke(*arguments).exit_code == 0, "the same command finds a finished run"


def test_a_served_run_with_other_settings_is_refused_with_resume_too(tmp_path: Path) -> None:
    folder, data = tmp_path / "estampa-serve", tmp_path / "empty.npz"
    folder.mkdir()
    data.touch()
    (folder / "config.json").write_text(json.dumps({"steps": 7}))
    (folder / "encoder.safetensors").touch()
    for resume in ([], ["--resume"]):
        found = invoke("run", "estampa-serve", "--data", data, "--out", tmp_path, *resume)
        assert found.exit_code == 2
        assert f"{folder} holds a run with steps = 7, and 12000 is requested; give another --out" in found.output


@pytest.mark.parametrize("origin", ["real", "unstated"])
def test_a_run_on_other_data_is_refused_by_fingerprint_and_origin_and_not_by_name(tmp_path: Path, origin: str) -> None:
    (tmp_path / "data.json").write_text(json.dumps({"name": "a.npz", "fingerprint": "0", "origin": "real"}))
    check_data(tmp_path, {"name": "b.npz", "fingerprint": "0", "origin": "real"})
    fingerprint = "1" if origin == "real" else "0"
    with pytest.raises(ExperimentError, match="give another --out, or run with --overwrite"):
        check_data(tmp_path, {"name": "a.npz", "fingerprint": fingerprint, "origin": origin})


def test_overwrite_begins_anew_and_only_where_a_run_is(data: Path, tmp_path: Path) -> None:
    arguments = ("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT, "--overwrite")
    assert invoke(*arguments, "--set", "epochs=2").exit_code == 0
    (tmp_path / CHEAP / "of the run before").touch()
    refused = invoke(*arguments, "--resume")
    assert refused.exit_code == 2
    assert "--resume goes on with a run, and --overwrite begins anew; give one of them" in refused.output
    assert invoke(*arguments).exit_code == 0
    metrics = tmp_path / CHEAP / "seed-1" / "metrics.jsonl"
    assert [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()] == [1]
    assert not (tmp_path / CHEAP / "of the run before").exists()
    (tmp_path / CHEAP / "config.json").unlink()
    found = invoke(*arguments)
    assert found.exit_code == 2
    assert f"{tmp_path / CHEAP} holds no run, for it has no config.json; remove it yourself" in found.output
    assert metrics.exists()


def test_overwrite_keeps_a_run_where_the_data_cannot_be_learned_from(data: Path, tmp_path: Path) -> None:
    arguments = ("run", CHEAP, "--data", data, "--out", tmp_path, "--no-umap", *SHORT)
    assert invoke(*arguments).exit_code == 0
    found = invoke(*arguments, "--overwrite", "--set", "channels=science,colour")
    assert found.exit_code == 2
    assert (tmp_path / CHEAP / "summary.json").exists()


def test_overwrite_of_a_folder_that_holds_the_data_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / CHEAP
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    path = write(folder / "stamp_dataset_21_new.pkl", single())
    found = invoke("run", CHEAP, "--data", path, "--out", tmp_path, "--no-umap", *SHORT, "--overwrite")
    assert found.exit_code == 2
    assert f"--overwrite would remove the input {path}; move it, or give another --out" in found.output
    assert path.exists()


@pytest.mark.parametrize("damaged", ["{", "[]", ""])
def test_a_damaged_config_is_named(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "config.json").write_text(damaged)
    with pytest.raises(ExperimentError, match=r"config\.json (cannot be read|holds a list).*--overwrite to begin anew"):
        check_settings(tmp_path, read_experiment(CHEAP)[0], resume=False)
