"""Whole fits: the sequence of losses of an autoencoder and of a classifier, from a seed to the last epoch."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.conftest import FLOAT64
from train.baselines import fit
from train.baselines.dataset import Split, SplitTensors, balanced_rows
from train.baselines.fit import fit_classifier, fit_reconstruction
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import changed

SMALL = {"epochs": 3, "batch_size": 8, "lr": 1e-3}


def tensors(stamps: int = 10) -> SplitTensors:
    """Round sources whose width is their class."""
    draw = torch.Generator().manual_seed(6)
    label = torch.arange(stamps) % 2
    axis = torch.arange(21) - 10.0
    width = (1.5 + 2 * label)[:, None, None]
    source = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * width**2))
    seen = (source[:, None] + 0.2 * torch.rand(stamps, 3, 21, 21, generator=draw)).clamp(0, 1)
    split = Split(seen, label, torch.empty(stamps, 0))
    return SplitTensors(split, split, split, ("star", "galaxy"), ("science", "template", "difference"))


@pytest.mark.usefixtures("float64")
def test_the_losses_of_an_autoencoder_are_pinned(tmp_path: Path) -> None:
    """Data order, augmentation, optimiser and initial weights: a change of any shows here."""
    three = {"channels": "science,template,difference", "augmentation": "tiles"}
    experiment = changed(read_experiment("ae")[0], SMALL | three)
    records = fit_reconstruction(experiment, tensors(), tmp_path).progress.records
    assert [record["train"] for record in records] == pytest.approx(AUTOENCODER, rel=FLOAT64)


@pytest.mark.usefixtures("float64")
def test_the_losses_of_a_classifier_are_pinned(tmp_path: Path) -> None:
    experiment = changed(read_experiment("clasificador-v1")[0], SMALL)
    records = fit_classifier(experiment, tensors(), tmp_path).progress.records
    assert [record["train"] for record in records] == pytest.approx(CLASSIFIER, rel=FLOAT64)


def test_a_balanced_epoch_sees_as_many_of_each_class_and_every_stamp_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    whole = tensors(12)
    label = torch.tensor([0] * 9 + [1] * 3)
    skewed = replace(whole, train=replace(whole.train, label=label))

    def loss(logits: torch.Tensor, answer: torch.Tensor, *_: object) -> torch.Tensor:
        seen.append(answer)
        return logits.square().mean()

    monkeypatch.setattr(fit, "classification_loss", loss)
    for balanced in (False, True):
        seen.clear()
        settings = SMALL | {"epochs": 1, "augmentation": "views", "balanced": balanced}
        experiment = changed(read_experiment("clasificador-v1")[0], settings)
        fit_classifier(experiment, skewed, tmp_path / str(balanced))
        counts = torch.bincount(torch.cat(seen)).tolist()
        assert counts == ([54, 54] if balanced else [54, 18])
    rows = balanced_rows(label, 2)
    assert torch.bincount(rows).tolist() == [1] * 9 + [3] * 3


def test_pretraining_has_a_rate_of_its_own(tmp_path: Path) -> None:
    (experiment,) = read_experiment("clasificador-v2", ["epochs=1", "pretrain_epochs=2", "batch_size=8"])
    losses = []
    for rate in (1e-12, 1e-3):
        folder = tmp_path / str(rate)
        fit_classifier(changed(experiment, {"pretrain_lr": rate}), tensors(), folder)
        lines = (folder / "pretrained-alone" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        losses.append([json.loads(line)["validation"] for line in lines])
    assert losses[0][1] == pytest.approx(losses[0][0], rel=1e-6)
    assert losses[1][1] < 0.999 * losses[1][0]
    assert read_experiment("staged")[0].pretrain_lr == read_experiment("ae")[0].lr


AUTOENCODER = [0.0485764989932, 0.0340148587051, 0.0363811247522]
CLASSIFIER = [0.69561907649, 0.687334418297, 0.726080566645]
