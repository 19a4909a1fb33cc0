"""The card of a served model: its scores, settings and data; and its `table.md`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from model_zoo.checkpoint import Checkpoint
from model_zoo.classes import CLASSES
from train.data.alert_table import AlertTable
from train.reporting.tables import TextTable, length_table
from train.serving.dataset import ServingDataset
from train.serving.evaluate import HoldoutSplit
from train.serving.inputs import InputFiles, TrainingInputs
from train.serving.model_selection import EncoderChoice

PROTOCOL: Final = (
    "{origin} alerts, folds by object, nested: a fold's settings were chosen on other folds, by models that saw "
    "neither; encoder, heads and temperature of a fold saw no label of it"
)


def described(alerts: ServingDataset, files: InputFiles, inputs: TrainingInputs) -> dict[str, Any]:
    """What was trained on: counts, names and a fingerprint of (candid, label).

    judged_alerts, judged_labelled: what the folds are made of, whose origin is `origin`; simulated_alerts only help.
    """
    evaluated = alerts.table.only(~alerts.simulated)
    return {
        "origin": inputs.origin,
        "real": [archive.name for archive in files.real],
        "simulated": [night.name for sky in files.skies for night in sky],
        "stamps": list(inputs.sets),
        "judged_alerts": len(evaluated),
        "judged_labelled": _counts(evaluated),
        "simulated_alerts": _counts(alerts.table.only(alerts.simulated)),
        "fingerprint": alerts.fingerprint(),
    }


def card(shown: Mapping[str, Any], chosen: EncoderChoice, data: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a checkpoint. shown: its held-out scores. data: what it was trained on, see `described`."""
    protocol = PROTOCOL.format(origin=data["data"]["origin"])
    return {"held_out": {"protocol": protocol, **shown}, **_settings(chosen), **data}


def of_interest(found: Mapping[str, Any], head: str) -> dict[str, Any]:
    """Scores of what a checkpoint holds; its own head's under `mlp`, the image head's beside it as `images_only`."""
    if head == "mlp":
        return {name: value for name, value in found.items() if not name.startswith("fused")}
    renamed = {f"images_only_{name.removeprefix('mlp_')}": found[name] for name in found if name.startswith("mlp_")}
    served = {f"mlp_{name.removeprefix('fused_')}": found[name] for name in found if name.startswith("fused_")}
    return served | renamed | {name: found[name] for name in found if name.startswith("recurrent_")}


def holdout_scores(holdout: Mapping[str, HoldoutSplit]) -> dict[str, dict[str, float]]:
    """Scores of a set's own validation and test, by split and classifier."""
    return {
        f"{split}_{classifier}": found.to_dict()
        for split, scored in holdout.items()
        for classifier, found in scored.scores.items()
    }


def _settings(plan: EncoderChoice) -> dict[str, Any]:
    """The settings of the model that serves, and what each fold chose for itself."""
    final = asdict(plan.final)
    changed = [{name: value for name, value in asdict(one).items() if value != final[name]} for one in plan.outer]
    return {"settings": final, "chosen_otherwise_by_fold": changed}


def card_table(checkpoint: Checkpoint) -> str:
    """The scores of a served model as Markdown."""
    held: Mapping[str, Any] = checkpoint.metadata["held_out"]
    origin = checkpoint.metadata.get("data", {}).get("origin", "real")
    found = {name: one for name, one in held.items() if isinstance(one, Mapping) and "f1" in one}
    holdout = {name: one for name, one in found.items() if name.startswith(("validation_", "test_"))}
    lines = [f"# {checkpoint.name} ({checkpoint.model_id})", ""]
    lines += [f"{origin.capitalize()} alerts, by object, nested:", ""]
    lines.append(_scores((name, one) for name, one in found.items() if name not in holdout))
    if holdout:
        known = origins(checkpoint.metadata["data"])
        lines += ["", f"Validation and test of the sets of stamps ({known} data), by the model that serves:", ""]
        lines.append(_scores(holdout.items()))
    for kind, shown in (("simulated", "Simulated"), ("real", origin.capitalize())):
        if by_length := held.get(f"{kind}_sequences"):
            lines += ["", f"{shown} objects held out, macro-F1 by number of alerts:", ""]
            lines.append(length_table("", by_length).markdown())
    return "\n".join([*lines, ""])


def origins(data: Mapping[str, Any]) -> str:
    """Origins of the sets of stamps. data: see `described`."""
    return ", ".join(sorted({one["origin"] for one in data["stamps"]}))


def _scores(found: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    rows = [("classifier", "macro-F1", "folds", "accuracy", "calibration error")]
    for name, one in found:
        spread = f"± {np.std(one['f1_by_fold']):.3f}" if "f1_by_fold" in one else ""
        rows.append((name, f"{one['f1']:.3f}", spread, f"{one['accuracy']:.3f}", f"{one['calibration_error']:.3f}"))
    return TextTable("", rows).markdown()


def _counts(alerts: AlertTable) -> dict[str, int]:
    return {name: int((alerts.label == place).sum()) for place, name in enumerate(CLASSES)}
