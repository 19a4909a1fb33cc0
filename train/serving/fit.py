"""`estampa-serve`: how the models that serve are fitted, from real alerts and simulated nights."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from model_zoo.classes import BANDS, CLASSES
from model_zoo.classifier.encoder import EncoderConfig, Supervised, freeze
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.classifier.recurrent import Recurrent, RecurrentConfig
from model_zoo.preprocess import Preprocessing
from train.files import atomic_write
from train.serving.dataset import Held, Sequences, ServingDataset, weights
from train.serving.encoder import CPU, EncoderTraining, Examples, fit_encoder, mean_probabilities
from train.serving.heads import HeadTable, HeadTraining, MetadataTraining, Target, fit_mlp, fit_recurrent, view_latents
from train.training.metrics_log import MetricsLog
from train.training.step import Curve

Fit = Callable[[], tuple[nn.Module, Mapping[str, Curve]]]
"""Fits a module; returns it with its training losses, by the name of what was fitted."""

HEAD_VIEWS: Final = (0, 5)
"""The heads learn on a stamp as it is and turned and mirrored: the encoder has seen all eight, and two suffice."""


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """How a served model is made. teachers: encoders averaged over eight views and distilled, 0 to learn from labels.

    taught: share of the teachers' prediction in a labelled alert's target. simulated: share of simulated alerts in
    what is drawn. balance: 1 makes classes count alike, 0 as often as they occur. columns: of the members that see
    metadata. share: of the image head's logits in the head that sees both.
    """

    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(normalisation="noise"))
    latent: int = 42
    teachers: int = 0
    taught: float = 0.5
    simulated: float = 0.5
    balance: float = 0.5
    seed: int = 20200812
    encoder: EncoderTraining = field(default_factory=EncoderTraining)
    heads: HeadTraining = field(default_factory=HeadTraining)
    columns: MetadataTraining = field(default_factory=MetadataTraining)
    share: float = 0.4

    @property
    def config(self) -> EncoderConfig:
        return EncoderConfig(len(self.preprocessing.channels), self.preprocessing.size, self.latent)

    @property
    def generator(self) -> torch.Generator:
        torch.manual_seed(self.seed)
        return torch.Generator().manual_seed(self.seed)

    def without(self, held: Held) -> Self:
        """The same with a seed of its own for each set of folds held out."""
        return replace(self, seed=self.seed + sum(10**place * (fold + 1) for place, fold in enumerate(held)))

    def digest(self, *, heads: bool = False) -> str:
        """Of all that an encoder's weights depend on beside the alerts, or those of its heads too."""
        without = {"columns", "share"} if heads else {"heads", "columns", "share"}
        settings = {name: value for name, value in asdict(self).items() if name not in without}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Models:
    """An encoder, frozen, with its heads; and the teachers that it was distilled from."""

    encoder: nn.Sequential
    mlp: Mlp
    recurrent: Recurrent
    teachers: tuple[Supervised, ...]


@dataclass(frozen=True, slots=True)
class Encoders:
    """Fits encoders, and keeps what was fitted in a folder: a run that was stopped does not fit it again.

    device: fits encoders; heads take little and stay on the CPU. journal: has a line for every fit. about: what
    stands there beside the losses: which stage of the run a fit belongs to.
    """

    folder: Path
    device: torch.device = CPU
    journal: MetricsLog = field(default_factory=MetricsLog)
    about: Mapping[str, Any] = field(default_factory=dict)

    def at(self, stage: str) -> Self:
        """The same, for fits of another stage of the run."""
        return replace(self, about={**self.about, "stage": stage})

    def without(self, held: Held) -> Self:
        """The same, for fits without some folds, counted from 1 in the journal."""
        return replace(self, about={**self.about, "without_folds": [fold + 1 for fold in held]})

    def fit(
        self, alerts: ServingDataset, serving: ServingConfig, kept: NDArray[np.bool_]
    ) -> tuple[Supervised, list[Supervised]]:
        """From the labelled alerts that are `kept` (N,), or from teachers of these and from what has no label too."""
        labelled = torch.from_numpy(np.flatnonzero(kept & alerts.table.labelled))
        weight = weights(alerts, labelled.numpy(), serving.simulated, serving.balance)
        target = F.one_hot(torch.from_numpy(alerts.table.label)[labelled], len(CLASSES)).float()
        plain = Examples(alerts.inputs[labelled], target, weight)
        alone = replace(serving, teachers=0)
        several = [replace(alone, seed=serving.seed + place) for place in range(max(serving.teachers, 1))]
        key = alerts.fingerprint(kept)
        teachers = [self._kept(one, key, partial(_fitted, plain, one, self.device)) for one in several]
        if not serving.teachers:
            return teachers[0], []
        spare = alerts.inputs[torch.from_numpy(np.flatnonzero(kept & ~alerts.table.labelled))]

        def distil() -> tuple[nn.Module, dict[str, Curve]]:
            return _fitted(_distilled(plain, spare, teachers, serving), serving, self.device)

        return self._kept(serving, key, distil), teachers

    def _kept(self, serving: ServingConfig, key: str, make: Fit) -> Supervised:
        model = Supervised(serving.config, len(CLASSES), serving.encoder.dropout)
        made = {
            "normalisation": serving.preprocessing.normalisation,
            "simulated": serving.simulated,
            "steps": serving.encoder.steps,
            "distilled": serving.teachers > 0,
        }
        noting = replace(self, about={**self.about, **made})
        model.load_state_dict(noting.keep(f"{serving.digest()}-{key}", make))
        freeze(model)
        return model

    def keep(self, name: str, make: Fit) -> dict[str, torch.Tensor]:
        """Tensors of a module that was kept under a name, or is now; the losses of its fit are kept beside them."""
        path = self.folder / f"{name}.safetensors"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            module, losses = make()
            tensors = {key: tensor.contiguous() for key, tensor in module.state_dict().items()}
            with atomic_write(path) as whole:
                whole.write_bytes(safetensors.torch.save(tensors, {"loss": json.dumps(losses)}))
        with safetensors.safe_open(path, "pt") as kept:
            known = json.loads((kept.metadata() or {}).get("loss", "{}"))
        self.journal.note(name, {**self.about, "loss": known})
        return safetensors.torch.load_file(path)


def fit_models(alerts: ServingDataset, serving: ServingConfig, out: NDArray[np.int64], encoders: Encoders) -> Models:
    """Encoder and both heads that see images, from all alerts but those of the objects of the sequences `out`."""
    kept = alerts.without(out)
    supervised, teachers = encoders.fit(alerts, serving, kept)

    def make() -> tuple[nn.Module, dict[str, Curve]]:
        latents = view_latents(supervised.encoder, alerts.inputs, HEAD_VIEWS)
        chosen = torch.from_numpy(np.flatnonzero(kept[alerts.sequences.last_rows.numpy()]))
        mlp, recurrent, losses = fit_heads(latents, alerts, chosen, serving, serving.generator)
        return nn.ModuleList((mlp, recurrent)), losses

    mlp, recurrent = Mlp(_mlp(serving)), Recurrent(_recurrent(serving))
    heads = nn.ModuleList((mlp, recurrent))
    heads.load_state_dict(encoders.keep(f"heads-{serving.digest(heads=True)}-{alerts.fingerprint(kept)}", make))
    freeze(heads)
    return Models(supervised.encoder, mlp, recurrent, tuple(teachers))


def fit_heads(
    latents: torch.Tensor,
    alerts: ServingDataset,
    chosen: torch.Tensor,
    serving: ServingConfig,
    generator: torch.Generator,
) -> tuple[Mlp, Recurrent, dict[str, Curve]]:
    """Both heads on the chosen sequences of rows of latents (N, V, L); and their training losses by name."""
    some = alerts.sequences.only(chosen)
    dated = bool(torch.isin(some.band, torch.tensor(BANDS)).any())
    weight = weights(alerts, some.last_rows.numpy(), serving.simulated, serving.balance)
    weighted = Sequences(some.rows, some.lengths, some.label, weight, some.jd, some.band)
    mlp, image_losses = fit_mlp(
        latents[some.last_rows], Target(some.label, weight), _mlp(serving), serving.heads, generator
    )
    recurrent, losses = fit_recurrent(latents, weighted, _recurrent(serving), serving.heads, generator)
    if not dated:  # times and bands that no example has had change no prediction
        recurrent.gru.get_parameter("weight_ih_l0")[:, serving.latent :] = 0
    return mlp, recurrent, {"mlp": image_losses, "recurrent": losses}


def _mlp(serving: ServingConfig) -> MlpConfig:
    return MlpConfig(latent=serving.latent, classes=len(CLASSES))


def _recurrent(serving: ServingConfig) -> RecurrentConfig:
    return RecurrentConfig(latent=serving.latent, classes=len(CLASSES))


def metadata_table(alerts: ServingDataset, kept: NDArray[np.bool_], serving: ServingConfig) -> HeadTable:
    """The real labelled alerts that are `kept`. The simulator's metadata misleads: its classes are told apart by
    columns whose real values lie elsewhere.
    """
    rows = np.flatnonzero(kept & alerts.table.labelled & ~alerts.simulated)
    target = F.one_hot(torch.from_numpy(alerts.table.label[rows]), len(CLASSES)).float()
    return HeadTable(alerts.table.metadata[rows], target, weights(alerts, rows, 0.0, serving.balance))


def _fitted(examples: Examples, serving: ServingConfig, device: torch.device) -> tuple[nn.Module, dict[str, Curve]]:
    model, losses = fit_encoder(examples, serving.config, serving.encoder, serving.generator, device)
    return model, {"encoder": losses}


def _distilled(plain: Examples, spare: torch.Tensor, teachers: list[Supervised], serving: ServingConfig) -> Examples:
    """Targets blended with the teachers' answers, and alerts without a label, whose target is the teachers' alone."""
    teaching = mean_probabilities(teachers, plain.stamps)
    blended = plain.target * (1 - serving.taught) + teaching * serving.taught
    even = plain.weight.median().expand(len(spare))
    return Examples(
        torch.cat([plain.stamps, spare]),
        torch.cat([blended, mean_probabilities(teachers, spare)]),
        torch.cat([plain.weight, even]),
    )
