"""The way brokers do it today, in short code of our own: what the ratios of `make bench` are taken against.

A packet is read whole by fastavro, its schema parsed each time; each stamp goes through gzip and astropy; the model
runs as it is; every command to the store is a round trip; every record is written with its schema.
"""

import gzip
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import redis
import torch
from astropy.io import fits
from confluent_kafka import Producer
from numpy.typing import NDArray

from consumer.store.sequences import entry_dtype
from model_zoo.checkpoint import Checkpoint
from model_zoo.preprocess import Preprocessing, cut, encoder_input

CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def read_alert(packet: bytes) -> dict[str, Any]:
    return next(iter(fastavro.reader(BytesIO(packet))))  # type: ignore[return-value]


def read_stamp(packed: bytes) -> NDArray[np.float32]:
    with fits.open(BytesIO(gzip.decompress(packed)), ignore_missing_simple=True) as file:
        return np.array(file[0].data, np.float32)


def model_input(packet: bytes, preprocessing: Preprocessing) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """One packet → its record and the encoder's input (1, planes, side, side)."""
    alert = read_alert(packet)
    stamps = [read_stamp(alert[name]["stampData"]) for name in CUTOUTS]
    cuts = [cut(stamp, preprocessing.size, (stamp.shape[0] // 2, stamp.shape[1] // 2))[0] for stamp in stamps]
    return alert, encoder_input(np.stack(cuts)[None], preprocessing)


class UsualLine:
    """The whole line, written the usual way."""

    def __init__(self, checkpoint: Checkpoint, store: str, records: Any, producer: Producer | None, topic: str) -> None:
        self._checkpoint, self._schema = checkpoint, records
        self._store = redis.Redis.from_url(store)
        self._dtype = entry_dtype(checkpoint.encoder_config.latent, np.float32)
        self._producer, self._topic = producer, topic

    @torch.inference_mode()
    def run(self, packets: Sequence[bytes], batch: int = 512) -> int:
        """Bytes written out, of all records."""
        written = 0
        for start in range(0, len(packets), batch):
            read = [model_input(packet, self._checkpoint.preprocessing) for packet in packets[start : start + batch]]
            latents = self._checkpoint.encoder(torch.from_numpy(np.concatenate([pixels for _, pixels in read])))
            alone = self._checkpoint.mlp(latents).softmax(1)
            for (alert, _), latent, scores in zip(read, latents, alone, strict=True):
                written += self._one(alert, latent.numpy(), scores.numpy())
        return written

    def _one(self, alert: dict[str, Any], latent: NDArray[np.float32], scores: NDArray[np.float32]) -> int:
        candidate = alert["candidate"]
        key = f"usual:{alert['objectId']}"
        value = np.zeros(1, self._dtype)
        value["jd"], value["band"], value["latent"] = candidate["jd"], candidate["fid"], latent
        self._store.hset(key, str(alert["candid"]), value.tobytes())
        self._store.expire(key, 86_400)
        held = np.sort(np.frombuffer(b"".join(self._store.hgetall(key).values()), self._dtype), order="jd")
        sequence = self._checkpoint.recurrent(
            torch.from_numpy(held["latent"].astype(np.float32))[None],
            torch.from_numpy(held["jd"].astype(np.float64))[None],
            torch.from_numpy(held["band"].astype(np.int64))[None],
            torch.tensor([len(held)]),
        ).softmax(1)
        return self._publish(alert, scores, sequence[0].numpy())

    def _publish(self, alert: dict[str, Any], scores: NDArray[np.float32], sequence: NDArray[np.float32]) -> int:
        classes = self._checkpoint.classes
        record = {
            "objectId": alert["objectId"],
            "candid": alert["candid"],
            "alert_probabilities": dict(zip(classes, scores.tolist(), strict=True)),
            "sequence_probabilities": dict(zip(classes, sequence.tolist(), strict=True)),
        }
        out = BytesIO()
        fastavro.writer(out, self._schema, [record])
        if self._producer:
            self._producer.produce(self._topic, out.getvalue())
            self._producer.poll(0)
        return out.tell()


USUAL_SCHEMA = {
    "type": "record",
    "name": "usual",
    "fields": [
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {"name": "alert_probabilities", "type": {"type": "map", "values": "float"}},
        {"name": "sequence_probabilities", "type": {"type": "map", "values": "float"}},
    ],
}
