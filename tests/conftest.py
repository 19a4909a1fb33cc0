"""What tests share: a seeded checkpoint, a broker and a store, and the real alerts where there are any."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest
import redis
import torch

from consumer.embedded import local_broker, local_store
from model_zoo.checkpoint import Checkpoint, save
from model_zoo.classes import CLASSES
from model_zoo.classifier.encoder import EncoderConfig, build_encoder, freeze
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.classifier.recurrent import Recurrent, RecurrentConfig
from model_zoo.metadata import Column
from model_zoo.preprocess import Preprocessing

ROOT = Path(__file__).parents[1]

# A machine under load is slow to draw an example and slow to run it: neither is a fault of what is tested.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


def random_checkpoint(seed: int = 0, metadata: Sequence[str] = ()) -> Checkpoint:
    """An untrained model: every stage does its arithmetic, only the classes mean nothing."""
    torch.manual_seed(seed)
    config = EncoderConfig()
    columns = tuple(Column(name, (0.0, 20.0), (-1.0, 1.0)) for name in metadata)
    parts = build_encoder(config), Mlp(MlpConfig(metadata=columns)), Recurrent(RecurrentConfig())
    for part in parts:
        freeze(part)
    return Checkpoint(f"random-{seed}", Preprocessing(), CLASSES, config, *parts)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small batches gain nothing from more, and threads that wait burn what others need."""
    torch.set_num_threads(1)


@pytest.fixture
def checkpoint() -> Checkpoint:
    return random_checkpoint()


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save(random_checkpoint(), folder)
    return folder


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Address of a broker: the one named by ESTAMPA_TEST_KAFKA, or an embedded one of this worker's."""
    given = os.environ.get("ESTAMPA_TEST_KAFKA")
    if given:
        yield given
        return
    with local_broker() as address:
        yield address


@pytest.fixture(scope="session")
def shared_store(worker_id: str) -> Iterator[str]:
    given = os.environ.get("ESTAMPA_TEST_REDIS")
    if given:
        if worker_id != "master":
            pytest.fail("every test empties the store of ESTAMPA_TEST_REDIS, so only one may run at a time: give -n 0")
        yield given
        return
    with local_store() as url:
        yield url


@pytest.fixture
def store_url(shared_store: str) -> str:
    """URL of an empty store."""
    client = redis.Redis.from_url(shared_store)
    client.flushdb()
    client.close()
    return shared_store


@pytest.fixture(scope="session")
def real_alerts() -> Path:
    """Folder of real ZTF alerts. They are third-party data and not part of the project."""
    folder = Path(os.environ.get("ESTAMPA_REAL_ALERTS", ROOT.parent / "shared" / "data" / "ztf"))
    if not (folder / "labelled.tar.gz").is_file():
        pytest.skip(f"no real alerts in {folder}; name their folder by ESTAMPA_REAL_ALERTS")
    return folder


@pytest.fixture(scope="session")
def real_packets(real_alerts: Path) -> list[bytes]:
    """The packets of both real archives, original bytes."""
    packets = []
    for name in ("labelled", "unlabelled"):
        with tarfile.open(real_alerts / f"{name}.tar.gz") as tar:
            packets += [file.read() for member in tar if (file := tar.extractfile(member))]
    return packets
