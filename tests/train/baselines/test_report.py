"""What a report shows of learning, reconstructing and calibration."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from model_zoo.baselines.reconstructor import Reconstructor, ReconstructorConfig
from tests.train.seeds import sequences, single, write
from train.baselines.dataset import SplitTensors, prepare
from train.baselines.reconstruction import reconstructed, reconstructors
from train.baselines.report import write_report
from train.baselines.run import Outcome, run
from train.data.pickle_layouts import read_layout
from train.data.stamp_set import StampSet, StampSource
from train.experiments.catalogue import read_experiment
from train.reporting.figures import (
    COLOURS,
    CROSS_ENTROPY,
    ENTROPY,
    MSE,
    RMSE,
    WEIGHTED,
    calibration,
    learning_curves,
    loss_panels,
    pretraining_panels,
)
from train.training.loop import load_best

SMALL = ["epochs=1", "probe_epochs=1", "rows=15"]
RECORDS = [
    {"epoch": 1, "train": 0.3, "validation": 0.09, "validation_accuracy": 0.25},
    {"epoch": 2, "train": 0.2, "validation": 0.04, "validation_accuracy": 0.5},
]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StampSet]:
    folder = tmp_path_factory.mktemp("seeds")
    return {
        "stamp_dataset_21_new": read_layout(write(folder / "stamp_dataset_21_new.pkl", single())),
        "5stamps_dataset": read_layout(write(folder / "5stamps_dataset.pkl", sequences())),
    }


def finished_run(sets: dict[str, StampSet], folder: Path, name: str, *settings: str) -> tuple[Outcome, SplitTensors]:
    (experiment,) = read_experiment(name, [*SMALL, *settings])
    tensors = prepare(sets[experiment.layout], experiment, torch.device("cpu"))
    outcome = run(experiment, tensors, StampSource("test", "0"), folder)
    write_report(outcome, tensors, folder, umap=False)
    return outcome, tensors


def mse_rows(folder: Path) -> dict[str, str]:
    rows = [line.split(" | ") for line in (folder / "table.md").read_text(encoding="utf-8").splitlines()]
    return {
        row[0].removeprefix("| held out, test: "): row[1] for row in rows if row[0].startswith("| held out, test: mse")
    }


@pytest.mark.parametrize(
    ("kind", "loss", "weighted", "shown"),
    [
        ("autoencoder", "mse", False, [(MSE, {"train": [0.3, 0.2], "validation": [0.09, 0.04]})]),
        ("reconstructor", "rmse", False, [(RMSE, {"train": [0.3, 0.2], "validation": [0.3, 0.2]})]),
        ("classifier", "crossentropy", False, [(CROSS_ENTROPY, {"train": [0.3, 0.2], "validation": [0.09, 0.04]})]),
        ("alerce", "entropy", False, [(ENTROPY, {"train": [0.3, 0.2]}), (CROSS_ENTROPY, {"validation": [0.09, 0.04]})]),
        (
            "sequence",
            "crossentropy",
            True,
            [(WEIGHTED, {"train": [0.3, 0.2]}), (CROSS_ENTROPY, {"validation": [0.09, 0.04]})],
        ),
    ],
)
def test_training_and_validation_share_a_panel_only_in_one_unit(
    kind: str, loss: str, weighted: bool, shown: list[tuple[str, dict[str, list[float]]]]
) -> None:
    panels = loss_panels({"kind": kind, "loss": loss, "weighted": weighted}, RECORDS)
    for panel, (quantity, lines) in zip(panels, shown, strict=False):
        assert (panel.quantity, panel.best) == (quantity, 2)
        assert panel.lines == {name: pytest.approx(values) for name, values in lines.items()}
    assert [panel.lines for panel in panels[len(shown) :]] == [{"validation": [25, 50]}] * (loss not in {"mse", "rmse"})


def test_every_panel_is_labelled_and_marks_the_best_epoch() -> None:
    drawn = learning_curves(loss_panels({"kind": "alerce", "loss": "entropy", "weighted": False}, RECORDS))
    assert [axes.get_ylabel() for axes in drawn.axes] == [ENTROPY, CROSS_ENTROPY, "accuracy, %"]
    for axes in drawn.axes:
        assert axes.get_xlabel() == "epoch"
        assert axes.get_lines()[-1].get_xdata()[0] == 2
        assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "best, epoch 2"


def test_a_staged_model_shows_both_stages_curves_errors_and_stamps(sets: dict[str, StampSet], tmp_path: Path) -> None:
    outcome, tensors = finished_run(sets, tmp_path, "staged", "pretrain_epochs=2", "seeds=1")
    for stage in ("pretrained-alone", "pretrained-through"):
        assert (tmp_path / "figures" / f"learning_curves_{stage}.png").is_file()
        assert (tmp_path / "figures" / f"reconstructions_{stage}.png").is_file()
        assert len(pretraining_panels(outcome.fit.folder)[stage][0].lines["train"]) == 2
    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    made = reconstructors(outcome.fit.model, settings, outcome.fit.folder)
    alone, through = (reconstructed(reconstruct, tensors.test.stamps) for reconstruct in made.values())
    plain = deepcopy(outcome.fit.model)
    for stage, seen in (("alone", alone), ("through", through)):
        load_best(torch.nn.ModuleDict({"model": plain}), outcome.fit.folder / f"pretrained-{stage}")
        answers = {"alone": plain.reconstruct, "through": plain.reconstruct_through}
        found = {name: reconstructed(answer, tensors.test.stamps) for name, answer in answers.items()}
        assert not torch.allclose(found["alone"], found["through"])
        torch.testing.assert_close(seen, found[stage])
    rows = mse_rows(tmp_path)
    assert len(rows) == 2 * (1 + len(tensors.classes))
    error = float((through - tensors.test.stamps).square().mean())
    assert float(rows["mse of pretraining: autoencoder through the recurrent layer"]) == pytest.approx(error, abs=1e-6)


def test_a_pretrained_classifier_reconstructs_with_the_weights_of_its_pretraining(
    sets: dict[str, StampSet], tmp_path: Path
) -> None:
    outcome, tensors = finished_run(sets, tmp_path, "clasificador-v2", "pretrain_epochs=1", "seeds=1")
    assert (tmp_path / "figures" / "reconstructions_pretrained-alone.png").is_file()
    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (reconstruct,) = reconstructors(outcome.fit.model, settings, outcome.fit.folder).values()
    place = outcome.fit.folder / "pretrained-alone" / "best.pt"
    state = torch.load(place, weights_only=True)["model"]
    plain = Reconstructor(ReconstructorConfig(sigmoid=False))
    names = {name.removeprefix("model."): value for name, value in state.items() if "head" not in name}
    plain.load_state_dict(names)
    with torch.no_grad():
        torch.testing.assert_close(reconstructed(reconstruct, tensors.test.stamps), plain(tensors.test.stamps))


def test_a_classifier_without_a_decoder_shows_no_reconstruction(sets: dict[str, StampSet], tmp_path: Path) -> None:
    finished_run(sets, tmp_path, "clasificador-v1", "seeds=1")
    assert not mse_rows(tmp_path)
    assert "<h2>Reconstructions" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_honest_error_is_of_the_best_weights_of_every_seed_and_each_class(
    sets: dict[str, StampSet], tmp_path: Path
) -> None:
    _, tensors = finished_run(sets, tmp_path, "reconstructor-v1", "seeds=2", "lr=1e-2")
    found = {name: [] for name in ("", *tensors.classes)}
    model = Reconstructor(ReconstructorConfig())
    for seed in (1, 2):
        load_best(model, tmp_path / f"seed-{seed}")
        with torch.no_grad():
            squared = (model(tensors.test.stamps) - tensors.test.stamps).square()
        found[""].append(float(squared.mean()))
        for place, name in enumerate(tensors.classes):
            found[name].append(float(squared[tensors.test.label == place].mean()))
    rows = mse_rows(tmp_path)
    for name, values in found.items():
        mean, spread = map(float, rows[f"mse of reconstructor{f', {name}' * bool(name)}"].split(" ± "))
        assert mean == pytest.approx(np.mean(values), abs=1e-6)
        assert spread == pytest.approx(np.std(values, ddof=1), abs=1e-6)


def test_points_at_one_are_drawn_whole() -> None:
    def drawn(sure: float) -> int:
        """Pixels of the one point of twenty answers, so many of them right as was thought."""
        label = np.array([0] * round(20 * sure) + [1] * round(20 * (1 - sure)))
        figure = calibration(label, np.tile([sure, 1 - sure], (20, 1)), 0.0)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        colour = np.array(to_rgb(COLOURS[0])) * 255
        return int((np.abs(np.asarray(canvas.buffer_rgba())[..., :3] - colour) < 2).all(axis=-1).sum())

    assert drawn(1.0) == pytest.approx(drawn(0.9), rel=0.1)
