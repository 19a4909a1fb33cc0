"""Whole fits: the sequence of losses of an autoencoder and of a classifier, from a seed to the last epoch."""

from pathlib import Path

import pytest
import torch

from train.experiment import changed, read_experiment
from train.fits import fit_classifier, fit_reconstruction
from train.material import Material, Split

SMALL = {"epochs": 3, "batch": 8, "rate": 1e-3}


def material(stamps: int = 10) -> Material:
    """Round sources whose width is their class."""
    draw = torch.Generator().manual_seed(6)
    label = torch.arange(stamps) % 2
    axis = torch.arange(21) - 10.0
    width = (1.5 + 2 * label)[:, None, None]
    source = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * width**2))
    seen = (source[:, None] + 0.2 * torch.rand(stamps, 3, 21, 21, generator=draw)).clamp(0, 1)
    split = Split(seen, label, torch.empty(stamps, 0))
    return Material(split, split, split, ("star", "galaxy"), ("science", "template", "difference"))


def test_the_losses_of_an_autoencoder_are_pinned(tmp_path: Path) -> None:
    """Data order, augmentation, optimiser and initial weights: a change of any shows here."""
    three = {"channels": "science,template,difference", "augmentation": "tiles"}
    experiment = changed(read_experiment("seed001-ae")[0], SMALL | three)
    records = fit_reconstruction(experiment, material(), tmp_path).progress.records
    assert [record["train"] for record in records] == pytest.approx(AUTOENCODER, rel=2e-3)


def test_the_losses_of_a_classifier_are_pinned(tmp_path: Path) -> None:
    experiment = changed(read_experiment("seed000-clasificador-v1")[0], SMALL)
    records = fit_classifier(experiment, material(), tmp_path).progress.records
    assert [record["train"] for record in records] == pytest.approx(CLASSIFIER, rel=2e-3)


AUTOENCODER = [0.054353, 0.034186, 0.028828]
CLASSIFIER = [0.691198, 0.697398, 0.69875]
