"""What a run makes of stamps: its model's own decoder, or the one that a classifier's encoder was pretrained with."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model_zoo.baselines.reconstructor import Reconstructor, ReconstructorConfig, StampMlp
from model_zoo.baselines.stamp_sequence import StampSequence
from model_zoo.classifier.encoder import freeze
from train.baselines.dataset import Split
from train.experiments.experiment import KINDS, ReconstructionExperiment
from train.training.loop import BEST, load_best

Reconstruct = Callable[[torch.Tensor], torch.Tensor]


def reconstructors(model: nn.Module, settings: Mapping[str, Any], folder: Path) -> dict[str, Reconstruct]:
    """Functions from stamps to their reconstructions, with the best weights of one seed's `folder`, by what made them.

    model: of the run, left as it is. settings: as in config.json. Empty where nothing of the run can reconstruct.
    """
    if issubclass(KINDS[settings["kind"]], ReconstructionExperiment):
        model = deepcopy(model)
        load_best(model, folder)
        return {settings["kind"]: _first_answer(model)}
    places = sorted(path.parent for path in folder.glob(f"pretrained-*/{BEST}"))
    return {place.name: _pretrained(deepcopy(model), settings, place) for place in places}


def reconstructed(reconstruct: Reconstruct, stamps: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """Reconstructions of stamps, of their shape, without gradients."""
    with torch.no_grad():
        return torch.cat([reconstruct(part) for part in stamps.split(batch)])


def errors(reconstruct: Reconstruct, split: Split, classes: int) -> NDArray[np.float64]:
    """(classes + 1,): mean squared error over the pixels of each class's examples, and last over all of them."""
    squared = (
        (reconstructed(reconstruct, split.stamps) - split.stamps).double().square().flatten(1).mean(dim=1).cpu().numpy()
    )
    by_class = [squared[split.true == place].mean() for place in range(classes)]
    return np.array([*by_class, squared.mean()])


def _first_answer(model: nn.Module) -> Reconstruct:
    """A VAE answers with the parameters of its latents too."""

    def reconstruct(stamps: torch.Tensor) -> torch.Tensor:
        answer = model(stamps)
        seen: torch.Tensor = answer[0] if isinstance(answer, tuple) else answer
        return seen

    return reconstruct


def _pretrained(model: nn.Module, settings: Mapping[str, Any], place: Path) -> Reconstruct:
    """The encoder and decoder as they were at the end of a stage; saved under the names that the dicts here repeat."""
    if isinstance(model, StampSequence):
        load_best(nn.ModuleDict({"model": model}), place)
        return model.reconstruct_through if place.name == "pretrained-through" else model.reconstruct
    if not isinstance(model, StampMlp):
        raise TypeError(f"{place} was pretrained, and {type(model).__name__} has no decoder")
    decoder = Reconstructor(ReconstructorConfig(len(settings["channels"]), settings["sigmoid"])).decoder
    decoder.to(next(model.parameters()).device)
    load_best(freeze(nn.ModuleDict({"model": model, "decoder": decoder})), place)
    return nn.Sequential(model.encoder, decoder)
