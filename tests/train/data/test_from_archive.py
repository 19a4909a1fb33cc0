"""Data sets from archives: the consumer's own pixels, whole objects per split, counts that add up, clear refusals."""

import csv
import io
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from typer.testing import CliRunner

from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.stamps import cut_stamps
from model_zoo.classes import CLASSES
from model_zoo.preprocess import Preprocessing, normalise
from tests.conftest import ROOT
from tests.support.packets import Packet, container
from tests.train.simulation.conftest import MadeNight, make_night
from train.__main__ import app
from train.baselines.dataset import LEFT_OUT, prepare
from train.data.alert_table import read_examples, table_of
from train.data.from_archive import FeatureReader, alert_set, collect, feature_values, sequence_set, split_by_object
from train.data.inspection import inspect
from train.data.labels import read_labels
from train.data.pickle_layouts import FEATURES
from train.data.stamp_set import SPLITS, StampSet
from train.experiments.catalogue import read_experiment

runner = CliRunner()
SMALL = Preprocessing()


def write_labels(night: MadeNight, path: Path, count: int | None = None) -> Path:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["candid", "label"])
        table.writerows([row["candid"], row["class"]] for row in night.truth[:count])
    return path


@pytest.fixture(scope="module")
def small_night(tmp_path_factory: pytest.TempPathFactory) -> MadeNight:
    faults = {"duplicates": 0.05, "corrupt": 0.05, "no_template": 0.05, "edge": 0.1}
    return make_night(tmp_path_factory.mktemp("archive"), alerts=200, seed=2, faults=faults)


@pytest.fixture(scope="module")
def labels(small_night: MadeNight, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labels(small_night, tmp_path_factory.mktemp("labels") / "labels.csv")


def test_every_alert_read_is_kept_repeated_unlabelled_or_refused(small_night: MadeNight, tmp_path: Path) -> None:
    table = read_labels(write_labels(small_night, tmp_path / "some.csv", 100))
    _, report = collect([small_night.archive], table, SMALL)
    assert report.read == report.kept + report.repeated + report.unlabelled + sum(report.refused.values())
    assert report.kept
    assert report.unlabelled
    assert report.refused


def test_images_are_what_the_consumer_sees(small_night: MadeNight, labels: Path) -> None:
    table = read_labels(labels)
    examples, _ = collect([small_night.archive], table, SMALL)
    arrays = alert_set(table_of(examples, table), SMALL, 1)
    by_candid = {}
    for payload in small_night.payloads:
        for alert in read_alerts(payload, 1 << 26):
            if isinstance(alert, Alert):
                by_candid[alert.candid] = alert
    for place, candid in enumerate(arrays.candid.tolist()):
        served = normalise(cut_stamps(by_candid[candid], SMALL, 1 << 26).pixels[None])[0]
        assert np.array_equal(arrays.images[place], served.transpose(1, 2, 0))


def test_the_file_says_what_it_holds(small_night: MadeNight, labels: Path) -> None:
    table = read_labels(labels)
    examples, report = collect([small_night.archive], table, SMALL)
    arrays = alert_set(table_of(examples, table), SMALL, 1)
    assert arrays.images.shape == (report.kept, 21, 21, 3)
    assert arrays.images.dtype == np.float32
    assert arrays.channels == ("science", "template", "difference")
    assert arrays.classes == CLASSES
    assert arrays.features.shape == (report.kept, len(FEATURES))
    assert (np.diff(arrays.jd) >= 0).all()


def test_a_built_set_is_read_back_with_the_candids_times_and_lengths_of_its_alerts(
    small_night: MadeNight, labels: Path, tmp_path: Path
) -> None:
    known = read_labels(labels)
    table = table_of(collect([small_night.archive], known, SMALL)[0], known)
    for name, built in (("alerts", alert_set(table, SMALL, 1)), ("sequences", sequence_set(table, SMALL, 1, 2))):
        built.save(tmp_path / f"{name}.npz")
        found = StampSet.load(tmp_path / f"{name}.npz")
        for column in ("candid", "jd", "fid", "lengths", "split", "oid", "features"):
            np.testing.assert_array_equal(getattr(found, column), getattr(built, column))
        assert found.candid.size
        assert found.lengths.size == (len(built) if name == "sequences" else 0)
        assert found.fingerprint == built.fingerprint


def test_columns_made_of_others_are_what_astropy_makes(small_night: MadeNight, labels: Path) -> None:
    table = read_labels(labels)
    arrays = alert_set(table_of(collect([small_night.archive], table, SMALL)[0], table), SMALL, 1)
    held = dict(zip(arrays.feature_names, arrays.features.T, strict=True))
    seen = SkyCoord(held["ra"], held["dec"], unit="deg")
    for system, longitude, latitude in (
        ("galactic", seen.galactic.l, seen.galactic.b),
        ("ecliptic", seen.barycentricmeanecliptic.lon, seen.barycentricmeanecliptic.lat),
    ):
        assert held[f"{system[:3]}_long"] == pytest.approx(longitude.deg, abs=1e-3)
        assert held[f"{system[:3]}_lat"] == pytest.approx(latitude.deg, abs=1e-3)
    assert set(held["isdiffpos"]) == {1.0, -1.0}
    np.testing.assert_array_equal(held["non_detections"], held["ncovhist"] - held["ndethist"])


def test_what_a_packet_does_not_have_is_nan_and_a_sign_is_spelled_in_either_way() -> None:
    for spelled, sign in (("t", 1), ("1", 1), ("f", -1), ("0", -1)):
        held = dict(zip(FEATURES, feature_values({"isdiffpos": spelled, "ra": None}), strict=True))
        assert held.pop("isdiffpos") == sign
        assert np.isnan(list(held.values())).all()
    assert np.isnan(feature_values({})).all()


def test_alerce_sees_its_23_columns_of_an_archive(small_night: MadeNight, labels: Path, tmp_path: Path) -> None:
    table = read_labels(labels)
    arrays = alert_set(table_of(collect([small_night.archive], table, SMALL)[0], table), SMALL, 1)
    split = np.array(SPLITS)[np.arange(len(arrays)) % 3]
    replace(arrays, split=split).save(tmp_path / "set.npz")
    experiment = read_experiment("alerce-stamp", only=["metadata"])[0]
    metadata = prepare(StampSet.load(tmp_path / "set.npz"), experiment, torch.device("cpu")).train.metadata
    assert metadata.shape[1] == len(FEATURES) - len(LEFT_OUT) == 23
    assert metadata.isfinite().all()


def test_splits_keep_objects_whole_and_shares_by_class() -> None:
    rng = np.random.default_rng(0)
    objects = rng.integers(0, 300, 2000)
    labels = (objects % 5).astype(np.int64)
    split = split_by_object(np.array([f"o{k}" for k in objects]), labels, 1)
    for name in np.unique(objects):
        assert len(set(split[objects == name])) == 1
    for code in range(5):
        of_class = np.unique(objects[labels == code])
        train = [name for name in of_class if split[objects == name][0] == "train"]
        assert len(train) == pytest.approx(0.7 * len(of_class), abs=1)


def test_sequences_are_padded_and_counted(small_night: MadeNight, labels: Path) -> None:
    table = read_labels(labels)
    examples, _ = collect([small_night.archive], table, SMALL)
    alerts, sequences = (
        alert_set(table_of(examples, table), SMALL, 1),
        sequence_set(table_of(examples, table), SMALL, 1, 2),
    )
    assert sequences.images.shape[1:] == (2, 21, 21, 3)
    assert set(sequences.lengths) <= {1, 2}
    kept = sum(min(2, int((alerts.oid == name).sum())) for name in sequences.oid)
    assert sequences.lengths.sum() == kept
    alone = sequences.lengths == 1
    assert not sequences.images[alone, 1].any()
    assert (sequences.jd[~alone, 1] > sequences.jd[~alone, 0]).all()


def test_build_and_inspect_from_the_command_line(small_night: MadeNight, labels: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "set.npz", tmp_path / "page.png"
    built = runner.invoke(
        app, ["dataset", "build", str(small_night.archive), "--labels", str(labels), "--out", str(out)]
    )
    assert built.exit_code == 0, built.stderr
    shown = runner.invoke(app, ["dataset", "inspect", str(out), "--page", str(page)])
    assert shown.exit_code == 0, shown.stderr
    assert "0 objects in two splits" in shown.stdout
    assert page.read_bytes().startswith(b"\x89PNG")


def test_a_built_set_is_simulated_where_the_truth_lies_beside_its_archive_and_real_elsewhere(
    small_night: MadeNight, labels: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "night.tar.gz"
    moved.parent.mkdir()
    moved.write_bytes(small_night.archive.read_bytes())
    arguments = ["--labels", str(labels), "--out"]
    for archives, origin in (
        ([small_night.archive], "simulated"),
        ([small_night.archive.parent, moved], "simulated"),
        ([moved], "real"),
    ):
        out = tmp_path / f"{len(archives)}{origin}.npz"
        built = runner.invoke(app, ["dataset", "build", *map(str, archives), *arguments, str(out)])
        assert built.exit_code == 0, built.stderr
        assert StampSet.load(out).origin == origin


def test_inspect_counts_the_objects_of_a_built_set_that_lie_in_two_splits(small_night: MadeNight, labels: Path) -> None:
    table = read_labels(labels)
    arrays = alert_set(table_of(collect([small_night.archive], table, SMALL)[0], table), SMALL, 1)
    first = np.flatnonzero(arrays.split == "train")[:7]
    rows = np.concatenate([np.arange(len(arrays)), first])
    twice = StampSet(
        images=arrays.images[rows],
        channels=arrays.channels,
        labels=arrays.labels[rows],
        classes=arrays.classes,
        split=np.concatenate([arrays.split, np.full(7, "test")]),
        oid=arrays.oid[rows],
    )
    found = inspect(twice)
    assert found.objects == len(set(arrays.oid))
    assert found.shared == len(set(arrays.oid[first]))
    assert found.leaks["train", "test"] == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("candid,class\n1,SN\n", "has no column label: its first line must name candid,label"),
        ("candid,label\n1,quasar\n", "labels.csv:2: label 'quasar' is none of AGN"),
        ("candid,label\nx,SN\n", "labels.csv:2: candid 'x' is no whole number"),
        ("candid,label\n1,SN\n", "has a label: do archives and labels belong together?"),
    ],
)
def test_bad_labels_are_one_line(small_night: MadeNight, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(content)
    arguments = [str(small_night.archive), "--labels", str(path), "--out", str(tmp_path / "o.npz")]
    result = runner.invoke(app, ["dataset", "build", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "o.npz").exists()


def test_a_pickle_is_no_data_set(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, images=np.array([{"a": 1}], dtype=object))
    result = runner.invoke(app, ["dataset", "inspect", str(path)])
    assert result.exit_code == 2
    assert "cannot be read as .npz: Object arrays cannot be loaded" in result.stderr


def test_real_alerts_make_a_data_set(real_alerts: Path, tmp_path: Path) -> None:
    table = read_labels(real_alerts / "labels.csv")
    examples, report = collect([real_alerts / "labelled.tar.gz"], table, SMALL)
    assert report.kept == report.read == 662
    assert not report.refused
    alert_set(table_of(examples, table), SMALL, 1).save(tmp_path / "real.npz")
    assert inspect(StampSet.load(tmp_path / "real.npz")).shared == 0


def test_a_container_that_is_cut_short_gives_the_alerts_before_the_cut(tmp_path: Path) -> None:
    """fastavro meets the cut with an EOFError, which the command line took for a user who goes away."""
    whole = container([Packet(candid=candid) for candid in (1, 2, 3)], sync_interval=10**6)
    with tarfile.open(tmp_path / "night.tar", "w") as tar:
        member = tarfile.TarInfo("many.avro")
        member.size = len(whole) - 5000
        tar.addfile(member, io.BytesIO(whole))
    found = list(read_examples([tmp_path / "night.tar"], Preprocessing(), FeatureReader()))
    assert [type(one).__name__ for one in found] == ["BadAlert"]
    blocks = container([Packet(candid=candid) for candid in (1, 2, 3)], sync_interval=1)
    with tarfile.open(tmp_path / "night.tar", "w") as tar:
        member.size = len(blocks) - 5000
        tar.addfile(member, io.BytesIO(blocks))
    found = list(read_examples([tmp_path / "night.tar"], Preprocessing(), FeatureReader()))
    assert [type(one).__name__ for one in found] == ["Example", "Example", "BadAlert"]


def test_a_notebooks_plotting_backend_is_not_asked_for(small_night: MadeNight, labels: Path, tmp_path: Path) -> None:
    """Jupyter exports MPLBACKEND to all it starts; the module that it names is the notebook's own."""
    environment = os.environ | {"MPLBACKEND": "module://no_such_notebook"}
    build = ["dataset", "build", str(small_night.archive), "--labels", str(labels), "--out", str(tmp_path / "o.npz")]
    done = subprocess.run(
        [sys.executable, "-m", "train", *build],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
