"""`estampa-train experiments NAME`: what it prints is what there is."""

import re

import pytest

from tests.train.cli.test_experiments import invoke
from train.experiments.catalogue import names, read_experiment
from train.simulation.datasets.seed_dataset import SEED_LAYOUTS


def shown(name: str) -> str:
    found = invoke("experiments", name)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.mark.parametrize("name", names())
def test_settings_are_shown_as_set_takes_them_each_with_a_meaning(name: str) -> None:
    page, runs = shown(name), read_experiment(name)
    common = re.findall(r"^  (\w+) = (\S+)  +(\S.*)$", page, re.MULTILINE)
    assert read_experiment(name, [f"{key}={value}" for key, value, _ in common]) == runs
    assert all(meaning != "None" for _, _, meaning in common)
    assert "seed" in [key for key, _, _ in common]
    for run in runs[: len(runs) if len(runs) > 1 else 0]:
        [line] = re.findall(rf"^  {run.variant}: (.*=.*)$", page, re.MULTILINE)
        for key, value in (setting.split(" = ") for setting in line.split(", ")):
            assert read_experiment(name, [f"{key}={value}"], [run.variant]) == [run]


@pytest.mark.parametrize("name", names())
def test_the_commands_shown_make_the_data_that_the_run_is_given(name: str) -> None:
    page = shown(name)
    made = re.findall(r"estampa-train (?:simulate|dataset) .*--out (\S+)", page)
    assert made
    assert re.findall(rf"estampa-train run {name} --data (\S+)", page) == made
    layouts = re.findall(r"--like (\S+)", page)
    assert layouts == ([] if name == "estampa-serve" else [read_experiment(name)[0].layout])
    assert set(layouts) <= SEED_LAYOUTS.keys()


def test_a_setting_that_the_model_does_not_read_is_not_shown() -> None:
    assert "cell = " not in shown("ae")
    assert "cell = " in shown("recurrent")
    assert "  steps = 12000 " in shown("estampa-serve")
    assert "epochs = " not in shown("estampa-serve")


def test_an_unknown_experiment_is_answered_with_the_nearest() -> None:
    found = invoke("experiments", "ae-latnt")
    assert found.exit_code == 2
    assert "no experiment is called 'ae-latnt'; did you mean ae-latent?" in found.output
