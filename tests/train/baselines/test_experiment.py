"""The experiments' files, and settings put over them."""

import tomllib
from dataclasses import fields, replace

import pytest

from train.experiments.bounds import LOSSES, READ_BY
from train.experiments.experiment import FOLDER, Experiment, ExperimentError, names, read_experiment, unread


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
        "seed001-recurrent": 9,
        "seed001-staged": 1,
        "seed001-vae": 1,
    }


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


def test_every_kind_reads_what_its_own_file_sets_and_says_what_it_does_not() -> None:
    for name in names():
        table = tomllib.loads((FOLDER / f"{name}.toml").read_text())
        told = [*table, *(key for variant in table.get("variants", ()) for key in variant)]
        for experiment in read_experiment(name):
            assert set(unread(experiment, [key for key in told if key != "simulated"])) == set()
    assert set(READ_BY) < {one.name for one in fields(Experiment)}
    assert {kind for kinds in READ_BY.values() for kind in kinds} == set(LOSSES)
    [served], [autoencoder] = read_experiment("estampa-serve"), read_experiment("seed001-ae")
    assert unread(autoencoder, ["latent=2", "steps = 3"]) == [
        "steps changes nothing: autoencoder does not read it, only serve"
    ]
    assert len(unread(served, ["epochs=2", "latent=3", "steps=5", "search=0"])) == 1
    assert unread(served, ["simulated=0.8"]) == [
        "simulated changes nothing: the trials choose it; with --set search=0 it is what you say"
    ]
    assert unread(replace(served, search=0), ["simulated=0.8"]) == []
