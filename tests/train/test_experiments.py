"""Every experiment, at a small scale, from data to its folder."""

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.train.seeds import single, write
from train.experiment import ExperimentError, names, read_experiment
from train.launch import choose_device
from train.layouts import read_layout
from train.material import prepare
from train.run import Source, run
from train.run_command import app
from train.simulation import seed_dataset
from train.stamp_set import DatasetError, StampSet

SMALL = ["epochs=1", "probe_epochs=1", "seeds=1", "rows=15"]
TRAINED = [name for name in names() if name != "estampa-serve"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StampSet]:
    """Simulated pickles of the layouts that the experiments were made for."""
    folder, found = tmp_path_factory.mktemp("seeds"), {}
    for name in ("stamp_dataset_21_new", "5stamps_dataset"):
        seed_dataset.write(name, folder / f"{name}.pkl", 1, 0.003, 1, lambda *_: None)
        found[name] = read_layout(folder / f"{name}.pkl")
    return found


def test_the_list_is_that_of_the_seeds() -> None:
    assert {name: len(read_experiment(name)) for name in names()} == {
        "alerce-stamp": 2,
        "estampa-serve": 1,
        "seed000-clasificador-v1": 1,
        "seed000-clasificador-v2": 1,
        "seed000-clasificador-v2-random": 1,
        "seed000-reconstructor-v1": 1,
        "seed000-reconstructor-v1.1": 1,
        "seed001-ae": 1,
        "seed001-augmentation": 3,
        "seed001-large3": 1,
        "seed001-latent": 4,
        "seed001-lr": 3,
        "seed001-recurrent": 6,
        "seed001-staged": 1,
        "seed001-vae": 1,
    }


@pytest.mark.parametrize("name", TRAINED)
def test_every_experiment_runs_to_its_end(name: str, sets: dict[str, StampSet], tmp_path: Path) -> None:
    plain = read_experiment(name)
    settings = SMALL + (["pretrained=1"] if plain[0].pretrained else [])
    for experiment in read_experiment(name, settings):
        material = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
        summary = run(experiment, material, Source("test", "0"), tmp_path / experiment.run).summary
        assert set(experiment.reference) <= set(summary["parity"])
        assert 0 <= summary["honest"]["test"]["f1"]["mean"] <= 1
        assert (tmp_path / experiment.run / "seed-1" / "metrics.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_the_command_leaves_one_folder_to_read_and_says_that_the_data_was_simulated(tmp_path: Path) -> None:
    data = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    sets = [part for setting in SMALL for part in ("--set", setting)]
    arguments = ["run", "seed001-ae", "--data", str(data), "--out", str(tmp_path), "--origin", "simulated", "--no-umap"]
    found = CliRunner().invoke(app, arguments + sets)
    assert found.exit_code == 0, found.output
    folder = tmp_path / "seed001-ae"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 6
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import""", page)
    for shown in ("k-means", "Gaussian mixture", "Test, by class", "Learned from 15 simulated stamps in 1 epoch."):
        assert shown in page
    assert "(simulated)" in page
    assert "| parity: recall % |" in (folder / "table.md").read_text(encoding="utf-8")
    assert "ours (simulated data)" in (folder / "table.md").read_text(encoding="utf-8")
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["epochs"] == 1


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("seed001-ea", [], "did you mean seed001-ae"),
        ("seed001-ae", ["epoch=3"], "'epoch'; did you mean epochs"),
        ("seed001-ae", ["epochs=many"], "epochs='many'"),
        ("seed001-ae", ["epochs=0"], "1 is the least"),
        ("seed001-ae", ["loss=l1"], "not one of mse"),
        ("seed001-ae", ["epochs"], "key=value is needed"),
        ("seed001-ae", ["rate=-1"], r"rate is -1\.0; 1e-12 is the least"),
        ("seed001-ae", ["rate=nan"], "rate is nan"),
        ("seed001-ae", ["probe_rate=inf"], "probe_rate is inf"),
        ("seed001-ae", ["decay=-1"], r"decay is -1\.0; 0 is the least"),
        ("seed001-ae", ["seed=-1"], "seed is -1; 0 is the least"),
        ("seed001-ae", ["seed=4294967296"], "seed is 4294967296; 2147483647 is the most"),
        ("seed001-ae", ["batch=0"], "batch is 0; 1 is the least"),
        ("seed001-ae", ["size=64"], "size is 64; 63 is the most"),
        ("seed001-ae", ["folds=0"], "folds is 0; 3 is the least"),
        ("seed001-ae", ["simulated=1.5"], r"simulated is 1\.5; 1 is the most"),
        ("seed001-ae", ["pretrained=-2"], "pretrained is -2; 0 is the least"),
        ("seed001-ae", ["cell=foo"], "cell is 'foo', not one of rnn, lstm, gru"),
        ("seed001-ae", ["kind=resnet"], "kind is 'resnet', not one of autoencoder"),
        ("seed001-ae", ["augmentation=blur"], "augmentation is 'blur', not one of none"),
        ("seed001-ae", ["loss=entropy"], "loss is 'entropy', not one of mse, rmse"),
        ("alerce-stamp", ["loss=mse"], "loss is 'mse', not one of crossentropy, entropy"),
        ("alerce-stamp", ["pretrained=1"], "only classifier and sequence are pretrained"),
        ("alerce-stamp", ["size=28"], "the alerce is made for 21 pixels"),
        ("seed001-ae", ["augmentation=tiles", "size=28"], "size is 28, of which 3×3 tiles cannot be cut"),
        ("seed001-ae", ["name=../../x"], r"'\.\./\.\./x' cannot name a run's folder"),
        ("seed001-ae", ["variant=/../x"], "cannot name a run's folder"),
        ("seed001-ae", ["name=."], "cannot name a run's folder"),
        ("seed001-ae", ["reference=5"], "a table is needed"),
    ],
)
def test_a_wrong_setting_is_named(name: str, settings: list[str], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        read_experiment(name, settings)


def test_a_short_trial_takes_as_many_rows_of_each_class_and_the_same_ones_each_time(sets: dict[str, StampSet]) -> None:
    few = read_experiment("seed001-ae", ["rows=17"])[0]
    first, second = (prepare(sets[few.layout], few, torch.device("cpu")) for _ in range(2))
    assert torch.bincount(first.train.label).tolist() == [3] * 5
    assert torch.equal(first.train.stamps, second.train.stamps)
    assert len(first.validation) == len(sets[few.layout].rows("validation"))


def test_more_epochs_go_on_with_a_run_and_another_rate_or_other_data_is_refused(
    sets: dict[str, StampSet], tmp_path: Path
) -> None:
    def again(setting: str, fingerprint: str = "0") -> int:
        experiment = read_experiment("seed000-reconstructor-v1", [*SMALL, setting])[0]
        material = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
        return run(experiment, material, Source("test", fingerprint), tmp_path).fit.progress.epoch

    assert [again("epochs=1"), again("epochs=3")] == [1, 3]
    with pytest.raises(ExperimentError, match=r"holds a run with rate = 0\.001, and 0\.01 is asked for"):
        again("rate=1e-2")
    with pytest.raises(ExperimentError, match="holds a run with fingerprint = '0'"):
        again("epochs=3", "1")


def test_a_batch_of_one_that_cannot_be_normalised_is_refused_before_training(sets: dict[str, StampSet]) -> None:
    for batch in (7, 1):
        [experiment] = read_experiment("alerce-stamp", ["rows=15", f"batch={batch}"], ["metadata"])
        with pytest.raises(DatasetError, match=f"batches of {batch} leave one of 15 examples alone"):
            prepare(sets[experiment.layout], experiment, torch.device("cpu"))


def test_a_class_absent_from_a_split_is_named(tmp_path: Path) -> None:
    content = single()
    content["Test"]["class"][content["Test"]["class"] == 1] = 0
    found = read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))
    with pytest.raises(DatasetError, match="split test of 15 stamps has no SN"):
        prepare(found, read_experiment("seed001-ae")[0], torch.device("cpu"))


def test_a_gpu_that_is_asked_for_and_missing_is_an_error(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    data = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    found = CliRunner().invoke(app, ["run", "seed001-ae", "--data", str(data), "--device", "cuda"])
    assert found.exit_code == 2
    assert "no CUDA device is visible" in found.output


@pytest.mark.parametrize(("name", "message"), [("foo", "no device is called so"), ("meta", "nothing is trained there")])
def test_a_device_that_is_none_is_an_error(name: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=f"--device {name}: {message}; give cpu, cuda or auto"):
        choose_device(name)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_and_eager_learn_the_same(sets: dict[str, StampSet], tmp_path: Path) -> None:
    losses = []
    for compiled in ("false", "true"):
        (experiment,) = read_experiment("seed001-ae", [*SMALL, f"compiled={compiled}"])
        material = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
        outcome = run(experiment, material, Source("test", "0"), tmp_path / compiled)
        losses.append(outcome.fit.progress.records[0]["train"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
