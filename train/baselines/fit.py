"""The fits that experiments are made of: a model, what it learns, and the function that encodes or answers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from model_zoo.baselines.alerce import Alerce, AlerceConfig, entropy_loss
from model_zoo.baselines.autoencoder import Autoencoder, AutoencoderConfig, Vae, divergence
from model_zoo.baselines.reconstructor import Reconstructor, ReconstructorConfig, StampMlp
from model_zoo.baselines.stamp_sequence import StampSequence, StampSequenceConfig
from model_zoo.classifier.encoder import EncoderConfig, freeze
from train.baselines.dataset import Split, SplitTensors, balanced_rows, class_weights
from train.experiments.experiment import (
    AlerceExperiment,
    BaselineExperiment,
    ClassificationExperiment,
    PretrainedExperiment,
    ReconstructionExperiment,
    ReconstructorExperiment,
    SequenceExperiment,
    StampClassifierExperiment,
)
from train.training.augment import Copies
from train.training.loop import Objective, TrainingProgress, TrainingSchedule, Watching, load_best, train, unwatched
from train.training.probe import encode

Encode = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Fit:
    """One finished fit. model: with the best weights. progress: of its epochs. folder: its weights and metrics."""

    model: nn.Module
    progress: TrainingProgress
    folder: Path


def fit_reconstruction(
    experiment: ReconstructionExperiment, tensors: SplitTensors, folder: Path, watching: Watching = unwatched
) -> Fit:
    """An autoencoder, a VAE or seed 000's reconstructor.

    The seeds keep the last weights; `Fit.model` has the best, and `last.pt` of its folder the last.
    """
    generator = _seeded(experiment.seed)
    model = prepare_model(reconstructing_model(experiment), experiment, tensors.train.stamps.device)
    copies = Copies(tensors.train.stamps, experiment.augmentation, generator)
    apart = torch.zeros(2, dtype=torch.float64, device=tensors.train.stamps.device)  # summed divergence, steps

    def step(which: torch.Tensor) -> torch.Tensor:
        error, *others = reconstruction_losses(model, copies.take(which)[0], experiment.loss)
        for other in others:
            apart[0] += other.detach()
            apart[1] += 1
        return sum(others, error)

    def validate() -> dict[str, float]:
        held = tensors.validation.stamps.split(512)
        losses = [reconstruction_loss(model, part, "mse") * len(part) for part in held]
        found = {"validation": float(sum(losses)) / len(tensors.validation)}
        if experiment.kind == "vae":
            found["divergence"] = float(apart[0] / apart[1])
            apart.zero_()
        return found

    objective = Objective(step, validate, len(copies), watching(folder.name, experiment.epochs))
    progress = train(model, objective, schedule(experiment), folder, generator)
    load_best(model, folder)
    return Fit(freeze(model), progress, folder)


def reconstructing_model(experiment: ReconstructionExperiment) -> nn.Module:
    shape = AutoencoderConfig(EncoderConfig(len(experiment.channels), experiment.size, experiment.latent))
    if experiment.kind == "vae":
        return Vae(shape)
    if isinstance(experiment, ReconstructorExperiment):
        return Reconstructor(ReconstructorConfig(len(experiment.channels), experiment.sigmoid))
    return Autoencoder(shape)


def encoder_of(model: nn.Module) -> Encode:
    """The function from stamps to latents of a reconstructing model or a classifier."""
    if isinstance(model, Vae):
        return model.latents
    if isinstance(model, Alerce):
        return model.pooled
    if isinstance(model, StampSequence):
        return lambda stamps: model.states(model.latents(stamps))[:, -1]
    if isinstance(model, (Autoencoder, Reconstructor, StampMlp)):
        return model.encoder
    raise TypeError(f"{type(model).__name__} has no encoder")


def reconstruction_loss(model: nn.Module, stamps: torch.Tensor, kind: str) -> torch.Tensor:
    """What a reconstructing model learns by."""
    error, *others = reconstruction_losses(model, stamps, kind)
    return sum(others, error)


def reconstruction_losses(model: nn.Module, stamps: torch.Tensor, kind: str) -> list[torch.Tensor]:
    """What sums to the loss: mean squared error over all pixels, its root for "rmse"; a VAE's divergence per pixel."""
    if isinstance(model, Vae):
        seen, mean, log_variance = model(stamps)
        apart = divergence(mean.float(), log_variance.float()).mean() / stamps[0].numel()
        return [F.mse_loss(seen.float(), stamps), apart]
    loss = F.mse_loss(model(stamps).float(), stamps)
    return [loss.sqrt() if kind == "rmse" else loss]


def fit_classifier(
    experiment: ClassificationExperiment, tensors: SplitTensors, folder: Path, watching: Watching = unwatched
) -> Fit:
    """A classifier of stamps or of sequences, its encoder pretrained and frozen as the experiment says."""
    generator = _seeded(experiment.seed)
    model = prepare_model(classifying_model(experiment, tensors), experiment, tensors.train.stamps.device)
    if isinstance(experiment, PretrainedExperiment) and experiment.pretrain_epochs:
        _pretrain(model, experiment, tensors, folder, watching)
    if experiment.frozen:
        freeze(_encoder(model))
    copies = Copies(tensors.train.stamps, experiment.augmentation, generator)
    label, classes, times = tensors.train.label, len(tensors.classes), copies.copies
    weight = class_weights(label, classes) if experiment.weighted else None
    drawn = balanced_rows(label, classes) if experiment.balanced else torch.arange(len(label), device=label.device)

    def step(which: torch.Tensor) -> torch.Tensor:
        if experiment.frozen:
            _encoder(model).eval()
        which = which.to(drawn.device)
        stamps, rows = copies.take(drawn[which // times] * times + which % times)
        logits = logits_of(model, stamps, tensors.train.metadata[rows])
        return classification_loss(logits, label[rows], experiment.loss, weight)

    def validate() -> dict[str, float]:
        logits = split_logits(model, tensors.validation)
        right = (logits.argmax(1) == tensors.validation.label).float().mean()
        return {
            "validation": float(F.cross_entropy(logits, tensors.validation.label)),
            "validation_accuracy": float(right),
        }

    objective = Objective(step, validate, len(drawn) * times, watching(folder.name, experiment.epochs))
    progress = train(model, objective, schedule(experiment), folder, generator)
    load_best(model, folder)
    return Fit(freeze(model), progress, folder)


def classifying_model(experiment: ClassificationExperiment, tensors: SplitTensors) -> nn.Module:
    channels, classes = len(experiment.channels), len(tensors.classes)
    if isinstance(experiment, AlerceExperiment):
        return Alerce(AlerceConfig(channels, tensors.train.metadata.shape[1], classes))
    if isinstance(experiment, SequenceExperiment):
        encoder = EncoderConfig(channels, experiment.size, experiment.latent)
        return StampSequence(StampSequenceConfig(encoder, experiment.cell, classes=classes))
    return StampMlp(ReconstructorConfig(channels, classes=classes))


def classification_loss(
    logits: torch.Tensor, label: torch.Tensor, kind: str, weight: torch.Tensor | None
) -> torch.Tensor:
    return entropy_loss(logits, label) if kind == "entropy" else F.cross_entropy(logits, label, weight)


def logits_of(model: nn.Module, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(stamps, metadata) if isinstance(model, Alerce) else model(stamps)
    return logits.float()


def split_logits(model: nn.Module, split: Split, batch: int = 512) -> torch.Tensor:
    """Logits (N, classes) of a split."""
    parts = zip(split.stamps.split(batch), split.metadata.split(batch), strict=True)
    with torch.no_grad():
        return torch.cat([logits_of(model, stamps, metadata) for stamps, metadata in parts])


def split_latents(model: nn.Module, split: Split) -> torch.Tensor:
    """(N, L) latents of a split."""
    return encode(encoder_of(model), split.stamps)


def schedule(experiment: BaselineExperiment) -> TrainingSchedule:
    return TrainingSchedule(
        experiment.epochs,
        experiment.batch_size,
        experiment.lr,
        experiment.weight_decay,
        experiment.patience,
        experiment.mixed,
    )


def _pretrain(
    model: nn.Module, experiment: PretrainedExperiment, tensors: SplitTensors, folder: Path, watching: Watching
) -> None:
    """Reconstruction before classification: of the stamps alone, and for a staged sequence then of the states too."""
    staged = isinstance(experiment, SequenceExperiment) and experiment.staged
    stages = ("alone", "through") if staged else ("alone",)
    for stage in stages:
        joint = _Reconstructing(model, experiment, stage).to(tensors.train.stamps.device)
        generator = _seeded(experiment.seed)
        copies = Copies(tensors.train.stamps, experiment.augmentation, generator)

        def step(which: torch.Tensor, joint: _Reconstructing = joint, copies: Copies = copies) -> torch.Tensor:
            stamps = copies.take(which)[0]
            return F.mse_loss(joint(stamps).float(), stamps)

        def validate(joint: _Reconstructing = joint) -> dict[str, float]:
            held = tensors.validation.stamps
            errors = [F.mse_loss(joint(part), part) * len(part) for part in held.split(256)]
            return {"validation": float(sum(errors)) / len(held)}

        length = replace(
            schedule(experiment), epochs=experiment.pretrain_epochs, rate=experiment.pretrain_lr, decay=0.0
        )
        place = folder / f"pretrained-{stage}"
        watch = watching(f"{folder.name}/{place.name}", experiment.pretrain_epochs)
        train(joint, Objective(step, validate, len(copies), watch), length, place, generator)
        load_best(joint, place)


class _Reconstructing(nn.Module):
    """A classifier's own encoder with a decoder behind it, so that reconstruction trains the classifier's weights."""

    def __init__(self, model: nn.Module, experiment: PretrainedExperiment, stage: str) -> None:
        super().__init__()
        self.model = model
        self.through = stage == "through"
        if isinstance(experiment, StampClassifierExperiment):
            self.decoder = Reconstructor(ReconstructorConfig(len(experiment.channels), experiment.sigmoid)).decoder

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        if isinstance(self.model, StampSequence):
            return self.model.reconstruct_through(stamps) if self.through else self.model.reconstruct(stamps)
        reconstruction: torch.Tensor = self.decoder(_encoder(self.model)(stamps))
        return reconstruction


def _encoder(model: nn.Module) -> nn.Module:
    encoder = model.encoder
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"{type(model).__name__} has no encoder")
    return encoder


def prepare_model(model: nn.Module, experiment: BaselineExperiment, device: torch.device) -> nn.Module:
    """`model` on the device that trains, its weights channels last, which the convolutions of a CPU are faster with.

    Where the experiment asks for it its forward pass is compiled in place, so that the names of its weights stay.
    """
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if experiment.compiled:
        model.compile()
    return model


def _seeded(seed: int) -> torch.Generator:
    """The one generator of a fit; torch's own, which draws weights and dropout, starts from the same seed."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
