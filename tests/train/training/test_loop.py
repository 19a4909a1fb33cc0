import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.train.conftest import FLOAT64
from train.training.loop import (
    LAST,
    METRICS,
    Objective,
    TrainingError,
    TrainingProgress,
    TrainingSchedule,
    load_best,
    load_last,
    train,
)

EXAMPLES = 40


def model() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))


def objective(net: nn.Module, *, stop_after: int | None = None, validation: float | None = None) -> Objective:
    draw = torch.Generator().manual_seed(1)
    values, wanted = torch.rand(EXAMPLES, 4, generator=draw), torch.rand(EXAMPLES, 1, generator=draw)

    def step(which: torch.Tensor) -> torch.Tensor:
        return (net(values[which]) - wanted[which]).square().mean()

    def validate() -> dict[str, float]:
        return {"validation": validation if validation is not None else float((net(values) - wanted).square().mean())}

    def watch(progress: TrainingProgress) -> None:
        if progress.epoch == stop_after:
            raise KeyboardInterrupt

    return Objective(step, validate, EXAMPLES, watch)


def schedule(epochs: int = 6, patience: int = 15) -> TrainingSchedule:
    return TrainingSchedule(epochs, 8, 1e-2, patience=patience)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def test_a_stopped_training_ends_with_the_very_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    whole = model()
    undisturbed = train(whole, objective(whole), schedule(), tmp_path / "whole", generator())
    stopped = model()
    with pytest.raises(KeyboardInterrupt):
        train(stopped, objective(stopped, stop_after=3), schedule(), tmp_path / "parts", generator())
    torch.manual_seed(12345)
    resumed = model()
    progress = train(resumed, objective(resumed), schedule(), tmp_path / "parts", torch.Generator().manual_seed(77))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert timeless(progress.records) == timeless(undisturbed.records)
    lines = (tmp_path / "parts" / METRICS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == progress.records
    assert all(0 < record["seconds"] < 60 for record in progress.records)


@pytest.mark.usefixtures("float64")
def test_the_sequence_of_losses_is_pinned(tmp_path: Path) -> None:
    """Data order, optimiser and dropout: a change of any shows here."""
    net = model()
    records = train(net, objective(net), schedule(4), tmp_path, generator()).records
    assert [record["train"] for record in records] == pytest.approx(GOLDEN, rel=FLOAT64)


GOLDEN = [0.305061384756, 0.223515107922, 0.142025011478, 0.123680728434]


def test_patience_counts_epochs_since_the_best_and_a_tie_is_better(tmp_path: Path) -> None:
    net = model()
    tied = train(net, objective(net, validation=1.0), schedule(9, patience=2), tmp_path / "tie", generator())
    assert tied.epoch == 9
    progress = TrainingProgress()
    assert [progress.seen({"validation": loss}) for loss in (2.0, 1.0, 3.0, 3.0)] == [True, True, False, False]
    assert progress.since_best == 2


def judged(net: nn.Module, losses: Iterable[float], seen: list[dict[str, torch.Tensor]] | None = None) -> Objective:
    """An objective whose validation says `losses`, an epoch each. seen: takes the weights that it was asked of."""
    told = iter(losses)

    def validate() -> dict[str, float]:
        if seen is not None:
            seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return {"validation": next(told)}

    return replace(objective(net), validate=validate)


def test_training_ends_after_as_many_epochs_without_a_better_one_as_patience_says(tmp_path: Path) -> None:
    net = model()
    ended = train(net, judged(net, (2.0, 1.0, 3.0, 3.0, 3.0, 3.0, 0.5)), schedule(9, patience=3), tmp_path, generator())
    assert (ended.epoch, ended.best, ended.since_best) == (5, 1.0, 3)


def test_the_best_weights_are_kept_apart_from_the_last(tmp_path: Path) -> None:
    net, seen = model(), []
    train(net, judged(net, (3.0, 1.0, 2.0, 4.0), seen), schedule(4), tmp_path, generator())
    assert not torch.equal(seen[1]["0.weight"], seen[3]["0.weight"])
    for load, epoch in ((load_best, 2), (load_last, 4)):
        assert load(net, tmp_path) in {epoch, None}
        assert all(torch.equal(value, seen[epoch - 1][name]) for name, value in net.state_dict().items())


def test_a_loss_that_is_no_number_stops_with_the_rate(tmp_path: Path) -> None:
    net = model()
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at a rate of"):
        train(net, objective(net), TrainingSchedule(9, 8, 1e25), tmp_path, generator())


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    net = model()
    train(net, objective(net), schedule(1), tmp_path, generator())
    other = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
    with pytest.raises(TrainingError, match="is of another model"):
        train(other, objective(other), schedule(2), tmp_path, generator())


def test_a_full_disk_leaves_the_epoch_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = model()
    train(net, objective(net), schedule(1), tmp_path, generator())
    before = (tmp_path / LAST).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        train(net, objective(net), schedule(2), tmp_path, generator())
    assert (tmp_path / LAST).read_bytes() == before
