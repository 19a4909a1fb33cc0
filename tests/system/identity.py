"""The fast path against the slow one, over long nights with every fault: `python -m tests.system.identity --nights 10`.

The slow path reads each packet whole by fastavro, each stamp by gzip and astropy, cuts it with numpy, and goes in
batches of seven. Records, dead letters and sequences must be equal to the last bit.
"""

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import redis
from astropy.io import fits
from numpy.typing import NDArray

from consumer import decode_stage
from consumer.archive.source import ArchiveSource, find_archives
from consumer.cli.runtime import load_inference, open_store, with_store
from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from consumer.decoding.alert import Alert
from consumer.decoding.packet import PacketReader
from consumer.decoding.stamps import Stamps, cut_stamps
from consumer.embedded import local_store
from consumer.inference.models import Inference
from consumer.monitoring.health import Heartbeat
from consumer.pipeline import Pipeline
from consumer.results import Results
from model_zoo.preprocess import MASKED, Preprocessing, cut, source_pixel
from tests.support.line import state

FAULTS = "duplicates=0.02,shuffled=0.05,late=0.01,nan=0.1,edge=0.02,no_template=0.01,corrupt=0.005"
SLOW_BATCH = 7
Answers = dict[Any, Any]


class Kept:
    """A sink that keeps what came out, by what it is of."""

    def __init__(self) -> None:
        self.records: Answers = {}
        self.dead: Answers = {}

    def publish(self, results: Results) -> None:
        for made in results.classifications:
            self.records[made.candid] = made.record() | {"classified_time": 0}
        self.dead |= {letter.place: (letter.reason, letter.payload) for letter in results.dead_letters}

    def close(self) -> None:
        """Nothing is open."""


def slow_pixels(packed: bytes | memoryview) -> NDArray[np.float32]:
    with fits.open(BytesIO(gzip.decompress(packed)), ignore_missing_simple=True) as file:
        pixels = file[0].data.astype(np.float32)
    assert np.all(np.isnan(pixels) | (np.abs(pixels) < 1e37) | (pixels == MASKED)), "infinite"
    return np.where(pixels == MASKED, np.float32(np.nan), pixels)


def slow_plane(alert: Alert, channel: str, size: int) -> tuple[NDArray[np.float32], int, list[str]]:
    """A channel's cut, the pixels that the stamp holds of it, its flags."""
    packed = alert.cutouts[channel]
    if packed is None and channel == "template":
        return np.full((size, size), np.nan, np.float32), 0, ["missing_template"]
    assert packed is not None, "no stamp"
    image = slow_pixels(packed)
    centre = 31, 31
    if image.shape != (63, 63):
        assert alert.xpos is not None
        assert alert.ypos is not None
        centre = source_pixel(image.shape, alert.xpos, alert.ypos)
        assert 0 <= centre[0] < image.shape[0], "off the stamp"
        assert 0 <= centre[1] < image.shape[1], "off the stamp"
    plane, padded = cut(image, size, centre)
    held = int(np.isfinite(cut(np.zeros_like(image), size, centre)[0]).sum())
    known = plane[~np.isnan(plane)]
    assert len(known), "blank"
    return plane, held, ["padded"] * padded + [f"constant_{channel}"] * bool(np.all(known == known[0]))


def slow_cut(alert: Alert, preprocessing: Preprocessing, max_bytes: int) -> Stamps:
    """The same as `cut_stamps`. Where it finds fault, so must that; the words are that one's."""
    try:
        found = [slow_plane(alert, channel, preprocessing.size) for channel in preprocessing.channels]
    except Exception as fault:
        cut_stamps(alert, preprocessing, max_bytes)
        raise AssertionError(f"candid {alert.candid}: the fast path sees nothing wrong") from fault
    flags = list(dict.fromkeys(flag for _, _, some in found for flag in some))
    held = sum(count for _, count, _ in found)
    known = sum(int(np.sum(~np.isnan(plane))) for plane, _, _ in found)
    flags += ["nan_pixels"] * (known < held)
    return Stamps(np.stack([plane for plane, _, _ in found]), (held - known) / held if held else 0.0, tuple(flags))


def slow() -> ExitStack:
    """While it lasts, packets and stamps are read the slow way."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(PacketReader, "_walked", return_value=None))
    stack.enter_context(mock.patch.object(decode_stage, "cut_stamps", slow_cut))
    return stack


def results(settings: Settings, inference: Inference, paths: Sequence[Path], batch: int) -> Kept:
    """Replay archives in batches of `batch`."""
    store = open_store(settings, inference, "identity")
    source, sink = ArchiveSource(find_archives(paths), batch), Kept()
    Pipeline(settings, source, inference, store, sink, Heartbeat(60)).run()
    store.close()
    return sink


def compare(settings: Settings, inference: Inference, paths: Sequence[Path], stores: Sequence[str]) -> int:
    """Replay both ways, each into its own store; how many alerts were read. Raises AssertionError where they differ."""
    quick = results(with_store(settings, stores[0]), inference, paths, settings.batch.size)
    with slow():
        careful = results(with_store(settings, stores[1]), inference, paths, SLOW_BATCH)
    for ours, theirs in ((quick.records, careful.records), (quick.dead, careful.dead)):
        unequal = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
        assert not unequal, f"{len(unequal)} differ; {unequal[0]}: {ours.get(unequal[0])} / {theirs.get(unequal[0])}"
    return len(quick.records) + len(quick.dead)


def simulated(folder: Path, nights: int, alerts: int) -> Iterator[Path]:
    """Nights of one sky, every third day, with faults."""
    for night in range(nights):
        path = folder / f"night{night}.tar.gz"
        day = np.datetime64("2026-01-01") + 3 * night
        words = ["night", "--date", str(day), "--alerts", str(alerts), "--seed", "5", "--faults", FAULTS]
        command = [sys.executable, "-m", "train", "simulate", *words, "--out", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        yield path
        path.unlink()


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("paths", nargs="*", type=Path, help="archives to compare on, beside the simulated nights")
    words.add_argument("--nights", type=int, default=10)
    words.add_argument("--alerts", type=int, default=10_000, help="a night")
    asked = words.parse_args()
    settings = load_settings(overrides={"limits": {"dead_letter_ratio": 1.0, "dead_letter_run": 100_000}})
    inference, began, total = load_inference(settings.model), time.monotonic(), 0
    with local_store() as quick, local_store() as careful, tempfile.TemporaryDirectory() as folder:
        for one in asked.paths:
            total += compare(settings, inference, [one], (quick, careful))
        for path in simulated(Path(folder), asked.nights, asked.alerts):
            total += compare(settings, inference, [path], (quick, careful))
        held = state(quick)
        assert held == state(careful), "the sequences differ"
        entries = sum(redis.Redis.from_url(quick).hlen(key) for key in held)
    took = time.monotonic() - began
    sys.stdout.write(
        f"{total:,} alerts, {len(held):,} objects, {entries:,} latents: equal to the last bit ({took:,.0f} s)\n"
    )


if __name__ == "__main__":
    main()
