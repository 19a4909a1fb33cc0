"""One experiment: what is trained, on what, how long. Read from `experiments/NAME.toml`, changed by `--set`."""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from train.experiments.bounds import BOUNDS, CHOICES, LOSSES, PRETRAINABLE, READ_BY, SIDES

FOLDER: Final = Path(__file__).parent

FOLDER_NAME: Final = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
SCALE: Final = (
    *("epochs", "pretrained", "probe_epochs", "rows", "seeds", "seed", "mixed", "compiled"),
    *("steps", "head_steps", "search", "folds"),
)
"""How long, of how much and how fast: a run of other values is a shorter one of the same experiment."""


class ExperimentError(ValueError):
    """An experiment that is unknown, or a setting that no experiment has."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """name: of the run. title: one line for people. kind: of model. layout: of the pickles it was made for.

    channels: planes of the input, in order. size: side of the cut, pixels. latent: length L. cell: rnn, lstm, gru.
    pretrained, pretrained_rate: epochs of reconstruction before the classifier, 0 for none, and their rate.
    frozen: the encoder learns no more. staged: the joint model's three stages. sigmoid: of the reconstructor.
    metadata: fuse the 26 columns. weighted: classes count alike in the loss. balanced: an epoch sees as many of each
    class, the rarer ones repeated. loss, augmentation, batch, rate, decay: of the main fit, by Adam.
    epochs: at most. patience: epochs without a better validation loss. keeps: the weights that the seed's protocol
    scores, those of the last epoch or of the best. probe_*: the linear probe's own.
    seeds: of the honest protocol. reference: the seed's own figures, by our names. variant: which of several runs.
    rows: training stamps at most, as many of each class, 0 for all: what a short trial learns from.
    mixed: convolutions in bfloat16, losses and weights in float32. compiled: the model's kernels are fused, worth its
    seconds in a long run.
    teachers, simulated, steps, head_steps: of the served model, see `train.serving.fit.Serving`. folds: of its score.
    search: steps of the short fits that choose its input, 0 to choose nothing. For it, metadata makes a second model
    that sees columns.
    """

    name: str
    title: str = ""
    kind: str = "autoencoder"
    layout: str = "stamp_dataset_21_new"
    channels: tuple[str, ...] = ("difference", "template")
    size: int = 21
    latent: int = 42
    cell: str = "lstm"
    pretrained: int = 0
    pretrained_rate: float = 0.333e-4
    frozen: bool = False
    staged: bool = False
    sigmoid: bool = True
    metadata: bool = False
    weighted: bool = False
    balanced: bool = False
    loss: str = "mse"
    augmentation: str = "views"
    batch: int = 100
    rate: float = 0.333e-4
    decay: float = 0.0
    epochs: int = 300
    patience: int = 15
    keeps: str = "last"
    probe_epochs: int = 200
    probe_rate: float = 0.333e-4
    probe_batch: int = 100
    seeds: int = 5
    seed: int = 1
    rows: int = 0
    mixed: bool = False
    compiled: bool = False
    teachers: int = 2
    simulated: float = 0.5
    steps: int = 1200
    head_steps: int = 3000
    folds: int = 5
    search: int = 250
    variant: str = ""
    reference: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                worded = f"{high} is the most" if value > high else f"{low} is the least"
                raise ExperimentError(f"{self.name}: {name} is {value}; {worded}")
        for name, known in CHOICES.items():
            self._check_choice(name, known)
        self._check_choice("loss", LOSSES[self.kind])
        if not FOLDER_NAME.fullmatch(self.run):
            raise ExperimentError(f"{self.run!r} cannot name a run's folder; give a plain name, without slashes")
        self._check_fit()

    def _check_choice(self, name: str, known: Sequence[str]) -> None:
        if getattr(self, name) not in known:
            raise ExperimentError(f"{self.name}: {name} is {getattr(self, name)!r}, not one of {', '.join(known)}")

    def _check_fit(self) -> None:
        """Settings that are well each by itself, and not together."""
        side = SIDES.get(self.kind, self.size)
        if self.size != side:
            raise ExperimentError(f"{self.name}: size is {self.size}; the {self.kind} is made for {side} pixels")
        if self.augmentation == "tiles" and self.size % 3:
            raise ExperimentError(
                f"{self.name}: size is {self.size}, of which 3×3 tiles cannot be cut; give a multiple of 3, or "
                "--set augmentation=views"
            )
        if self.pretrained and self.kind not in PRETRAINABLE:
            raise ExperimentError(
                f"{self.name}: pretrained is {self.pretrained}; 0 is needed, for only {' and '.join(PRETRAINABLE)} "
                "are pretrained"
            )

    @property
    def run(self) -> str:
        """Name of the run's folder."""
        return f"{self.name}-{self.variant}" if self.variant else self.name


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_experiment(name: str, settings: Sequence[str] = (), only: Sequence[str] = ()) -> list[Experiment]:
    """The runs of experiment `name`, one for each of its variants, with `key=value` settings put over all of them.

    only: the variants wanted, by default all. Raises ExperimentError naming the nearest experiment, variant or setting.
    """
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ExperimentError(f"no experiment is called {name!r}{_nearest(name, names())}")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    variants = table.pop("variants", [{}])
    changes = dict(_setting(text) for text in settings)
    known = [variant.get("variant", "") for variant in variants]
    for wanted in only:
        if wanted not in known:
            raise ExperimentError(f"{name} has no variant {wanted!r}{_nearest(wanted, list(filter(None, known)))}")
    chosen = [variant for variant in variants if not only or variant.get("variant") in only]
    return [_experiment({"name": name} | table | variant | changes, name) for variant in chosen]


def changed(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """`experiment` with some settings changed. Raises ExperimentError on one that it does not have."""
    _known(changes, experiment.name)
    return replace(experiment, **{key: _typed(key, value) for key, value in changes.items()})


def altered(experiment: Experiment) -> str:
    """What makes this another experiment than the file's, in words; empty where it is the same at its own scale."""
    if experiment.name not in names():
        return f"no experiment is called {experiment.name!r}"
    own = {one.variant: one for one in read_experiment(experiment.name)}.get(experiment.variant)
    if own is None:
        return f"{experiment.run} is none of the experiment's own runs"
    if bool(experiment.pretrained) != bool(own.pretrained):
        return f"pretrained is {experiment.pretrained}, not {own.pretrained}"
    for one in fields(Experiment):
        ours, theirs = getattr(experiment, one.name), getattr(own, one.name)
        if ours != theirs and one.name not in {*SCALE, "title", "reference"}:
            return f"{one.name} is {ours!r}, not {theirs!r}"
    return ""


def unread(experiment: Experiment, settings: Sequence[str]) -> list[str]:
    """Of settings, `key` or `key=value`, those that change nothing in this experiment: each with why, in words."""
    keys = [text.partition("=")[0].strip() for text in settings]
    found = [
        f"{key} changes nothing: {experiment.kind} does not read it, only {' and '.join(READ_BY[key])}"
        for key in keys
        if experiment.kind not in READ_BY.get(key, LOSSES)
    ]
    if "simulated" in keys and experiment.kind == "serve" and experiment.search:
        found.append("simulated changes nothing: the trials choose it; with --set search=0 it is what you say")
    return found


def _experiment(table: Mapping[str, Any], name: str) -> Experiment:
    _known(table, name)
    return Experiment(**{key: _typed(key, value) for key, value in table.items()})


def _known(table: Mapping[str, Any], name: str) -> None:
    known = [one.name for one in fields(Experiment)]
    for key in table:
        if key not in known:
            raise ExperimentError(f"{name}: no setting is called {key!r}{_nearest(key, known)}")


def _typed(key: str, value: Any) -> Any:
    """`value` as the field's type, from TOML or from the text of `--set`."""
    kind = {one.name: one.type for one in fields(Experiment)}[key]
    try:
        if kind is bool:
            return _truth(value)
        if kind in {int, float, str}:
            return kind(value)
        if key == "channels":
            return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
    except ValueError as error:
        raise ExperimentError(f"{key}={value!r}: {error}") from error
    if not isinstance(value, Mapping):
        raise ExperimentError(f"{key}={value!r}: a table is needed, in the experiment's own file")
    return dict(value)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    spelled = {"true": True, "false": False}
    if str(value).lower() not in spelled:
        raise ValueError("true or false is needed")
    return spelled[str(value).lower()]


def _setting(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ExperimentError(f"--set {text!r}: key=value is needed, such as epochs=2")
    return key.strip(), value.strip()


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known) or 'none'}"
