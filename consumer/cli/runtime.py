"""The parts that commands share: models, stores, signals.

Torch takes seconds to load. It is loaded with the model, after all that can be said without it.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import SecretStr

from consumer.configuration.settings import ModelSettings, Settings, StoreSettings
from consumer.embedded import local_store
from consumer.store.redis_store import RedisStore
from model_zoo.shipped import resolve
from model_zoo.signature import verify

if TYPE_CHECKING:
    from consumer.inference.models import Inference
    from model_zoo.checkpoint import Checkpoint

log = structlog.get_logger()

DECODING: Final = 1
"""Cores that decode the next batch meanwhile: a model that took them too would be a tenth slower on two cores."""

STOPS: Final = (signal.SIGINT, signal.SIGTERM)


def load_inference(settings: ModelSettings) -> "Inference":
    """The configured checkpoint on its device."""
    resolve(settings.checkpoint)
    import torch  # noqa: PLC0415

    from consumer.inference.models import Inference, choose_device  # noqa: PLC0415

    device = choose_device(settings.device)
    torch.set_num_threads(settings.threads or max((os.cpu_count() or 1) - DECODING, 1))
    checkpoint = load_checkpoint(settings)
    log.info("model_loaded", name=checkpoint.name, model_id=checkpoint.model_id, encoder_id=checkpoint.encoder_id)
    return Inference(checkpoint, device)


def load_checkpoint(settings: ModelSettings) -> "Checkpoint":
    """The configured checkpoint, signed by the configured key where there is one. Raises CheckpointError."""
    folder = resolve(settings.checkpoint)
    if settings.public_key:
        verify(folder, settings.public_key)
        log.info("signature_verified", checkpoint=str(folder))
    from model_zoo.checkpoint import load  # noqa: PLC0415

    return load(folder)


def open_store(settings: Settings, inference: "Inference", group: str) -> RedisStore:
    """The configured store, seen to answer and to keep what it is given."""
    checkpoint = inference.checkpoint
    store = RedisStore(settings.store, checkpoint.encoder_id, checkpoint.encoder_config.latent, group)
    store.check()
    return store


@contextmanager
def store_at_hand(settings: Settings, folder: Path | None) -> Iterator[Settings]:
    """The settings with a store to use: the configured one, or else an embedded one, kept in `folder` if given."""
    if folder is None and "url" in settings.store.model_fields_set:
        yield settings
        return
    with local_store(folder) as url:
        log.info("store_started", url=url, kept_in=str(folder) if folder else None)
        yield with_store(settings, url)


def with_store(settings: Settings, url: str) -> Settings:
    """The settings, with another store."""
    store = StoreSettings(**{**settings.store.model_dump(), "url": SecretStr(url)})
    return settings.model_copy(update={"store": store})


@contextmanager
def stopping(*stops: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM ask for an orderly stop; a second one ends at once. Yields: whether one came.

    It is logged afterwards: a signal may come in the middle of a line of the log, whose lock would never open again.
    """
    came: list[int] = []

    def handle(number: int, _: object) -> None:
        came.append(number)
        for stop in stops:
            stop()
        for one in STOPS:
            signal.signal(one, signal.SIG_DFL)

    before = {number: signal.getsignal(number) for number in STOPS}
    for number in STOPS:
        signal.signal(number, handle)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            log.info("stopped", signal=signal.Signals(came[0]).name)
