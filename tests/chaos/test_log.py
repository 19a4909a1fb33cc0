"""A store's append-only file may end anywhere after a crash: what it says was applied is never more than it holds."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from consumer.configuration.settings import StoreSettings
from consumer.embedded import start_store
from consumer.store.redis_store import RedisStore
from consumer.store.sequences import NewEntries

pytestmark = pytest.mark.integration

PLACE = ("topic", 0)
CANDIDS = (1, 2, 3)


def opened(address: str) -> RedisStore:
    return RedisStore(StoreSettings.model_validate({"url": f"redis://{address}"}), "enc", 2, "group")


def written(folder: Path) -> bytes:
    """The append-only file of a store that was killed after one batch of three objects."""
    server = start_store(folder, keep=True, options=("--appendfsync", "always"))
    latents = np.zeros((3, 2), np.float32)
    batch = NewEntries([f"o{one}" for one in CANDIDS], np.array(CANDIDS), np.ones(3), np.ones(3, np.uint8), latents)
    opened(server.address).remember(batch, {PLACE: 7})
    server.process.kill()
    server.process.wait()
    [log] = (folder / "appendonlydir").glob("*.incr.aof")
    return log.read_bytes()


def test_wherever_the_log_ends_no_offset_is_held_without_its_alerts(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole")
    ends = [found.start() for found in re.finditer(rb"\*\d+\r\n", whole)] + [len(whole)]
    applied = []
    for end in ends:
        folder = tmp_path / str(end)
        shutil.copytree(tmp_path / "whole", folder)
        [log] = (folder / "appendonlydir").glob("*.incr.aof")
        log.write_bytes(whole[:end])
        server = start_store(folder, keep=True)
        try:
            store = opened(server.address)
            held = [candid for candid in CANDIDS if len(store.sequence(f"o{candid}").candid)]
            applied.append(store.applied(PLACE))
        finally:
            server.stop()
        assert applied[-1] is None or held == list(CANDIDS), f"cut at {end}: applied {applied[-1]}, held {held}"
    assert applied[0] is None
    assert applied[-1] == 7
