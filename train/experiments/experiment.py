"""The settings of an experiment, typed: one class a kind of model, which has the settings that this model reads."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

FOLDER_NAME: Final = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
LARGEST: Final = 2**31 - 1
"""Of every integer: what all generators take as a seed, and more than any training makes."""


class ExperimentError(ValueError):
    """An experiment that is unknown, a setting that it does not have, or a command that does not fit it."""


def _split(value: Any) -> Any:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _of_21_pixels(size: int) -> int:
    if size != 21:
        raise ValueError("the model is made for 21 pixels")
    return size


Count = Annotated[int, Field(ge=1, le=LARGEST)]
CountOrNone = Annotated[int, Field(ge=0, le=LARGEST)]
LearningRate = Annotated[float, Field(ge=1e-12)]
Channels = Annotated[tuple[str, ...], BeforeValidator(_split)]
Size21 = Annotated[int, AfterValidator(_of_21_pixels), Field(description="side of the cut, pixels; 21 alone fits")]
ClassificationLoss = Literal["crossentropy", "entropy"]


class Experiment(BaseModel):
    """What every experiment has. Frozen; made by `build`, which raises ExperimentError on what is no such setting."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(description="name of the experiment and, with the variant, of the run's folder")
    variant: str = Field("", description="which run of the experiment")
    title: str = Field("", description="one line for people, with the source")
    reference: dict[str, float] = Field({}, description="the source's own figures, by our names")
    kind: str = Field(description="kind of model")
    layout: str = Field("stamp_dataset_21_new", description="layout of the pickle that the experiment was made for")
    channels: Channels = Field(("difference", "template"), description="planes of the input, in order")
    size: int = Field(21, ge=1, le=63, description="side of the cut in the middle of the stamp, pixels")
    latent: Count = Field(42, description="length of the latent, and of the PCA that it is compared with")
    seed: CountOrNone = Field(1, description="seed of every random generator; further seeds count up from it")

    @property
    def run(self) -> str:
        """Name of the run's folder."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def settings(self) -> dict[str, Any]:
        """All settings, as in config.json."""
        return self.model_dump(mode="json")

    @model_validator(mode="after")
    def _names_a_folder(self) -> Self:
        if not FOLDER_NAME.fullmatch(self.run):
            raise ValueError(f"{self.run!r} cannot name a run's folder; give a plain name, without slashes")
        return self


class BaselineExperiment(Experiment):
    """What the experiments of the two projects and ALeRCE's classifier share: a fit by epochs, with Adam."""

    augmentation: Literal["none", "views", "tiles"] = Field(
        "views", description="copies of a stamp: none, views (flips and quarter turns), tiles (shuffled 3×3 tiles too)"
    )
    batch_size: Count = Field(100, description="examples of a step")
    lr: LearningRate = Field(0.333e-4, description="learning rate")
    weight_decay: float = Field(0.0, ge=0, description="weight decay of Adam")
    epochs: Count = Field(300, description="epochs of the fit, at most")
    patience: Count = Field(15, description="epochs without a better validation loss until the fit ends")
    checkpoint: Literal["last", "best"] = Field("last", description="the weights that the reference protocol scores")
    seeds: int = Field(5, ge=1, le=1000, description="fits of the held-out protocol, each from its own seed")
    rows: CountOrNone = Field(0, description="training stamps at most, as many of each class; 0 for all")
    mixed: bool = Field(default=False, description="convolutions in bfloat16, losses and weights in float32")
    compiled: bool = Field(default=False, description="compile the model; pays off in long runs")

    @model_validator(mode="after")
    def _tiles_fit(self) -> Self:
        if self.augmentation == "tiles" and self.size % 3:
            raise ValueError(
                f"size is {self.size}, of which 3×3 tiles cannot be cut; give a multiple of 3, or "
                "--set augmentation=views"
            )
        return self


class ReconstructionExperiment(BaselineExperiment):
    """A model that learns to reconstruct stamps; a linear probe reads the classes from its latents."""

    loss: Literal["mse", "rmse"] = Field("mse", description="mean squared error of the pixels, or its root")
    probe_epochs: Count = Field(200, description="epochs of the linear probe")
    probe_lr: LearningRate = Field(0.333e-4, description="learning rate of the linear probe")
    probe_batch_size: Count = Field(100, description="examples of a step of the linear probe")


class AutoencoderExperiment(ReconstructionExperiment):
    """The convolutional autoencoder, plain or variational."""

    kind: Literal["autoencoder", "vae"] = Field("autoencoder", description="kind of model")


class ReconstructorExperiment(ReconstructionExperiment):
    """The reconstructor, whose linear layers fit one size."""

    kind: Literal["reconstructor"] = Field("reconstructor", description="kind of model")
    size: Size21 = 21
    sigmoid: bool = Field(default=True, description="the decoder ends in a sigmoid")


class ClassificationExperiment(BaselineExperiment):
    """A classifier of stamps or of sequences."""

    loss: ClassificationLoss = Field("crossentropy", description="cross entropy, or less β times the entropy")
    frozen: bool = Field(default=False, description="the encoder learns no more")
    weighted: bool = Field(default=False, description="classes count alike in the loss")
    balanced: bool = Field(default=False, description="an epoch has as many of each class, rare ones repeated")


class AlerceExperiment(ClassificationExperiment):
    """ALeRCE's stamp classifier."""

    kind: Literal["alerce"] = Field("alerce", description="kind of model")
    size: Size21 = 21
    metadata: bool = Field(default=False, description="the columns of metadata are read beside the stamp")


class PretrainedExperiment(ClassificationExperiment):
    """A classifier whose encoder may be trained by reconstruction first."""

    pretrain_epochs: CountOrNone = Field(0, description="epochs of reconstruction before the classifier; 0 for none")
    pretrain_lr: LearningRate = Field(0.333e-4, description="learning rate of the reconstruction")


class StampClassifierExperiment(PretrainedExperiment):
    """The reconstructor's encoder with a classifier of single stamps."""

    kind: Literal["classifier"] = Field("classifier", description="kind of model")
    size: Size21 = 21
    sigmoid: bool = Field(default=True, description="the decoder of the pretraining ends in a sigmoid")


class SequenceExperiment(PretrainedExperiment):
    """A recurrent classifier of sequences of stamps."""

    kind: Literal["sequence"] = Field("sequence", description="kind of model")
    cell: Literal["rnn", "lstm", "gru"] = Field("lstm", description="recurrent cell")
    staged: bool = Field(default=False, description="pretrain through the recurrent layer too: three stages in all")


class ServingExperiment(Experiment):
    """The models that serve; `train.serving` makes its own ServingConfig of it."""

    kind: Literal["serve"] = Field("serve", description="kind of model")
    metadata: bool = Field(default=False, description="make a second model that sees the columns of metadata")
    teachers: CountOrNone = Field(2, description="encoders that are distilled; 0 to learn from the labels alone")
    simulated: float = Field(0.5, ge=0, le=1, description="share of simulated alerts, where search is 0")
    steps: Count = Field(1200, description="steps of the encoder's fit")
    head_steps: Count = Field(3000, description="steps of each head's fit")
    folds: int = Field(5, ge=3, le=LARGEST, description="folds of the cross-validation")
    search: CountOrNone = Field(250, description="steps of the short fits that choose the input; 0 to choose nothing")


Kind = TypeVar("Kind", bound=Experiment)
KINDS: Final[dict[str, type[Experiment]]] = {
    "autoencoder": AutoencoderExperiment,
    "vae": AutoencoderExperiment,
    "reconstructor": ReconstructorExperiment,
    "classifier": StampClassifierExperiment,
    "alerce": AlerceExperiment,
    "sequence": SequenceExperiment,
    "serve": ServingExperiment,
}
READ_BY: Final = {
    key: tuple(kind for kind, settings in KINDS.items() if key in settings.model_fields)
    for settings in KINDS.values()
    for key in settings.model_fields
}
"""Kinds of model that read a setting."""


def build(table: Mapping[str, Any]) -> Experiment:
    """The experiment of a table of settings, as TOML or text; those that only other kinds of model read are left out.

    Raises ExperimentError naming the setting, its value and what it may be.
    """
    name, kind = table["name"], table.get("kind", "autoencoder")
    for key in table:
        if key not in READ_BY:
            raise ExperimentError(f"{name}: no setting is called {key!r}{nearest(key, list(READ_BY))}")
    if kind not in KINDS:
        raise ExperimentError(f"{name}: kind={kind}: input should be one of {', '.join(KINDS)}")
    read = {key: value for key, value in table.items() if kind in READ_BY[key]}
    try:
        return KINDS[kind](**read)
    except ValidationError as error:
        raise ExperimentError(f"{name}: {_reason(error)}") from error


def changed(experiment: Kind, changes: Mapping[str, Any]) -> Kind:
    """`experiment` with some settings changed. Raises ExperimentError as `build`, or where its class would change."""
    made = build(experiment.model_dump() | dict(changes))
    if not isinstance(made, type(experiment)):
        raise ExperimentError(f"{experiment.name}: kind={made.kind}: it has other settings than {experiment.kind}")
    return made


def nearest(word: str, known: Sequence[str]) -> str:
    """The end of an error on an unknown word: the known one that is most like it, else all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known) or 'none'}"


def _reason(error: ValidationError) -> str:
    """The first thing that is wrong, on one line."""
    found = error.errors()[0]
    reason = found["msg"].removeprefix("Value error, ")
    if not found["loc"]:
        return reason
    return f"{found['loc'][0]}={found['input']}: {reason[0].lower()}{reason[1:]}"
