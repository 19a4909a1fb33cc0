"""`estampa object`: what the store knows of one object, and how its classification developed."""

from typing import Any

from rich.console import RenderableType
from rich.text import Text

from consumer.cli.runtime import load_inference, open_store
from consumer.configuration.settings import Settings
from consumer.errors import StoreError
from consumer.results import ModelInfo
from consumer.store.sequences import HistoryWindow
from consumer.terminal import TableColumn, table
from model_zoo.classes import BAND_NAMES


def development(settings: Settings, key: str) -> list[dict[str, Any]]:
    """Of each alert of the object, by time: what it was judged on, and the class probabilities at that point.

    key: objectId, or the designation of a known solar-system object. Raises StoreError where nothing is held of it.
    """
    inference = load_inference(settings.model)
    store = open_store(settings, inference, settings.kafka.group)
    held = store.sequence(key)
    store.close()
    if not len(held.candid):
        encoder = inference.checkpoint.encoder_id
        hint = "a solar-system object is kept by its designation"
        raise StoreError(f"store {settings.store.address} holds nothing of {key!r} for encoder {encoder}; {hint}")
    candids = held.candid.tolist()
    window = HistoryWindow(settings.store.max_history, settings.store.history_days)
    histories = window.histories(held, candids, [True] * len(candids))
    judge = ModelInfo.of(inference.checkpoint)
    return [
        {
            "candid": candid,
            "jd": float(history.jd[-1]),
            "fid": int(history.band[-1]),
            "history_length": len(history),
            "history_truncated": history.truncated,
            "sequence_probabilities": judge.probabilities(probabilities),
        }
        for candid, history, probabilities in zip(candids, histories, inference.classify(histories), strict=True)
    ]


def development_table(key: str, steps: list[dict[str, Any]]) -> RenderableType:
    """The development as a person likes to read it: the largest probability of each row stands out."""
    classes = list(steps[0]["sequence_probabilities"])
    columns = [TableColumn(name, "right") for name in ("jd", "band", "candid", "judged on", *classes)]
    return table(f"{key}: {len(steps)} alerts", columns, map(_row, steps))


def _row(step: dict[str, Any]) -> list[str | Text]:
    scores = step["sequence_probabilities"]
    best = max(scores, key=scores.__getitem__)
    shown = [Text(f"{score:.3f}", "bold" if name == best else "") for name, score in scores.items()]
    band = BAND_NAMES.get(step["fid"], str(step["fid"]))
    return [f"{step['jd']:.5f}", band, str(step["candid"]), str(step["history_length"]), *shown]
