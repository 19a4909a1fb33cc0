"""The experiments' files, and settings put over them."""

import tomllib

import pytest

from train.experiments.catalogue import FOLDER, altered, names, read_experiment, read_grid, unread
from train.experiments.experiment import READ_BY, ExperimentError, build, changed


def test_the_list_is_that_of_the_seeds() -> None:
    assert {name: len(read_experiment(name)) for name in names()} == {
        "alerce-stamp": 2,
        "estampa-serve": 1,
        "clasificador-v1": 1,
        "clasificador-v2": 1,
        "clasificador-v2-random": 1,
        "reconstructor-v1": 1,
        "reconstructor-v1.1": 1,
        "ae": 1,
        "ae-augmentation": 3,
        "ae-large3": 1,
        "ae-latent": 4,
        "ae-lr": 3,
        "recurrent": 9,
        "staged": 1,
        "vae": 1,
    }


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ae-latnt", [], "no experiment is called 'ae-latnt'; did you mean ae-latent"),
        ("ae", ["epoch=3"], "'epoch'; did you mean epochs"),
        ("ae", ["epochs=many"], "ae: epochs=many: input should be a valid integer"),
        ("ae", ["epochs=0"], "ae: epochs=0: input should be greater than or equal to 1"),
        ("ae", ["epochs=2147483648"], "epochs=2147483648: input should be less than or equal to 2147483647"),
        ("ae", ["loss=l1"], "loss=l1: input should be 'mse' or 'rmse'"),
        ("ae", ["epochs"], "key=value is needed"),
        ("ae", ["lr=-1"], "lr=-1: input should be greater than or equal to 0.000000000001"),
        ("ae", ["lr=nan"], "lr=nan: input should be a finite number"),
        ("ae", ["probe_lr=inf"], "probe_lr=inf: input should be a finite number"),
        ("ae", ["weight_decay=-1"], "weight_decay=-1: input should be greater than or equal to 0"),
        ("ae", ["seed=-1"], "seed=-1: input should be greater than or equal to 0"),
        ("ae", ["seed=4294967296"], "seed=4294967296: input should be less than or equal to 2147483647"),
        ("ae", ["batch_size=0"], "batch_size=0: input should be greater than or equal to 1"),
        ("ae", ["size=64"], "size=64: input should be less than or equal to 63"),
        ("ae", ["mixed=perhaps"], "mixed=perhaps: input should be a valid boolean"),
        ("estampa-serve", ["folds=0"], "folds=0: input should be greater than or equal to 3"),
        ("estampa-serve", ["simulated=1.5"], "simulated=1.5: input should be less than or equal to 1"),
        ("staged", ["pretrain_epochs=-2"], "pretrain_epochs=-2: input should be greater than or equal to 0"),
        ("staged", ["cell=foo"], "cell=foo: input should be 'rnn', 'lstm' or 'gru'"),
        ("ae", ["kind=resnet"], "kind=resnet: input should be one of autoencoder, vae"),
        ("ae", ["augmentation=blur"], "augmentation=blur: input should be 'none', 'views' or 'tiles'"),
        ("ae", ["loss=entropy"], "loss=entropy: input should be 'mse' or 'rmse'"),
        ("alerce-stamp", ["loss=mse"], "loss=mse: input should be 'crossentropy' or 'entropy'"),
        ("alerce-stamp", ["size=28"], "size=28: the model is made for 21 pixels"),
        ("ae", ["augmentation=tiles", "size=28"], "ae: size is 28, of which 3×3 tiles cannot be cut"),
        ("ae", ["name=../../x"], r"'\.\./\.\./x' cannot name a run's folder"),
        ("ae", ["variant=/../x"], "cannot name a run's folder"),
        ("ae", ["name=."], "cannot name a run's folder"),
        ("ae", ["reference=5"], "reference=5: input should be a valid dictionary"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_it_may_be(
    name: str, settings: list[str], message: str
) -> None:
    with pytest.raises(ExperimentError, match=message):
        read_experiment(name, settings)


def test_settings_of_the_command_line_have_the_type_of_the_setting() -> None:
    [run] = read_experiment("ae", ["epochs=3", "lr=1e-2", "mixed=true", "channels=science,template", "size=21"])
    wanted = {"epochs": 3, "lr": 0.01, "mixed": True, "channels": ["science", "template"], "size": 21}
    assert {key: run.settings()[key] for key in wanted} == wanted
    [fixed] = read_experiment("reconstructor-v1", ["size=21"])
    assert fixed.size == 21


def test_an_experiment_has_the_settings_that_its_model_reads_and_no_others() -> None:
    for name in names():
        table = tomllib.loads((FOLDER / f"{name}.toml").read_text())
        keys = {*table, *(key for variant in table.get("variants", ()) for key in variant)} - {"variants"}
        for experiment in read_experiment(name):
            assert keys <= experiment.settings().keys()
            assert all((key in experiment.settings()) == (experiment.kind in kinds) for key, kinds in READ_BY.items())


def test_a_setting_that_the_model_does_not_read_is_left_out_and_said() -> None:
    [served], [autoencoder] = read_experiment("estampa-serve"), read_experiment("ae", ["steps=3"])
    assert "steps" not in autoencoder.settings()
    assert unread(autoencoder, ["latent=2", "steps = 3"]) == [
        "steps changes nothing: autoencoder does not read it, only serve"
    ]
    assert len(unread(served, ["epochs=2", "latent=3", "steps=5", "search=0"])) == 1
    assert unread(served, ["simulated=0.8"]) == [
        "simulated changes nothing: the trials choose it; with --set search=0 it is what you say"
    ]
    assert unread(changed(served, {"search": 0}), ["simulated=0.8"]) == []


def test_a_change_of_kind_changes_the_settings_and_another_class_is_refused() -> None:
    [autoencoder] = read_experiment("ae")
    assert changed(autoencoder, {"kind": "vae"}).kind == "vae"
    with pytest.raises(ExperimentError, match="kind=sequence: it has other settings than autoencoder"):
        changed(autoencoder, {"kind": "sequence", "loss": "entropy"})
    assert altered(build(autoencoder.model_dump() | {"kind": "reconstructor"})) == (
        "kind is 'reconstructor', not 'autoencoder'"
    )


def test_a_grid_is_every_combination_and_a_draw_some_of_them_the_same_each_time() -> None:
    points = read_grid(["lr=1e-3,1e-4", "batch_size=20,30"], None, 1)
    assert len(points) == 4
    assert {tuple(point.items()) for point in points} == {
        (("lr", rate), ("batch_size", batch)) for rate in ("1e-3", "1e-4") for batch in ("20", "30")
    }
    drawn = read_grid(["lr=1e-3,1e-4", "batch_size=20,30"], 2, 7)
    assert drawn == read_grid(["lr=1e-3,1e-4", "batch_size=20,30"], 2, 7)
    assert all(point in points for point in drawn)
    assert len(read_grid(["lr=1e-3,1e-4", "batch_size=20,30"], 50, 7)) == 4
