import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from model_zoo.checkpoint import WEIGHTS, Checkpoint, load, resolve, save
from model_zoo.classifier.encoder import EncoderConfig, build_encoder, freeze
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.classifier.recurrent import Recurrent, RecurrentConfig
from model_zoo.errors import CheckpointError
from model_zoo.preprocess import Preprocessing
from tests.conftest import random_checkpoint


def edit_card(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    card = json.loads((folder / "model.json").read_text())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    save(replace(checkpoint, metadata={"accuracy": 0.5}), tmp_path / "model")
    return tmp_path / "model"


def test_a_checkpoint_comes_back_as_it_was_saved(folder: Path, checkpoint: Checkpoint) -> None:
    found = load(folder)
    assert (found.name, found.classes, found.preprocessing) == (
        checkpoint.name,
        checkpoint.classes,
        checkpoint.preprocessing,
    )
    assert (found.model_id, found.encoder_id) == (checkpoint.model_id, checkpoint.encoder_id)
    assert found.metadata == {"accuracy": 0.5}
    images = torch.rand(8, 3, 21, 21)
    assert torch.equal(found.encoder(images), checkpoint.encoder(images))


def test_a_loaded_checkpoint_is_frozen(folder: Path) -> None:
    found = load(folder)
    for part in (found.encoder, found.mlp, found.recurrent):
        assert not part.training
        assert not any(parameter.requires_grad for parameter in part.parameters())


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save(load(folder), tmp_path / "again")
    for name in ("model.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


# Identity


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_checkpoint_that_cannot_be_written_leaves_nothing_half_written(
    checkpoint: Checkpoint, tmp_path: Path, name: str
) -> None:
    """A folder stands where a file is to be."""
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=name):
        save(checkpoint, tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_another_encoder_weight_is_another_encoder_and_model(checkpoint: Checkpoint) -> None:
    other = random_checkpoint()
    with torch.no_grad():
        next(other.encoder.parameters())[0, 0, 0, 0] += 1e-6
    assert other.encoder_id != checkpoint.encoder_id
    assert other.model_id != checkpoint.model_id


@pytest.mark.parametrize(
    "preprocessing", [Preprocessing(23), Preprocessing(channels=("science", "difference", "template"))]
)
def test_other_preprocessing_is_another_encoder(checkpoint: Checkpoint, preprocessing: Preprocessing) -> None:
    assert replace(checkpoint, preprocessing=preprocessing).encoder_id != checkpoint.encoder_id


def test_batch_statistics_are_part_of_the_encoders_identity(checkpoint: Checkpoint) -> None:
    other = random_checkpoint()
    other.encoder[1].running_mean += 1.0  # type: ignore[operator]
    assert other.encoder_id != checkpoint.encoder_id


@pytest.mark.parametrize("head", ["mlp", "recurrent"])
def test_another_head_is_another_model_of_the_same_encoder_so_stored_latents_stay_good(
    checkpoint: Checkpoint, head: str
) -> None:
    other = random_checkpoint()
    getattr(other, head).temperature *= 2
    assert other.encoder_id == checkpoint.encoder_id
    assert other.model_id != checkpoint.model_id


def test_classes_in_another_order_are_another_model(checkpoint: Checkpoint) -> None:
    turned = replace(checkpoint, classes=checkpoint.classes[::-1])
    assert turned.model_id != checkpoint.model_id
    assert turned.encoder_id == checkpoint.encoder_id


def test_name_and_metadata_are_for_people_and_change_no_identity(checkpoint: Checkpoint) -> None:
    other = replace(checkpoint, name="other", metadata={"accuracy": 1.0})
    assert (other.model_id, other.encoder_id) == (checkpoint.model_id, checkpoint.encoder_id)


# Strictness


def double_a_weight(tensors: dict[str, torch.Tensor]) -> None:
    tensors["mlp.layers.0.bias"] *= 2


def drop_a_tensor(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["encoder.0.weight"]


def add_a_tensor(tensors: dict[str, torch.Tensor]) -> None:
    tensors["decoder.0.weight"] = torch.zeros(1)


def reshape_a_tensor(tensors: dict[str, torch.Tensor]) -> None:
    tensors["mlp.mean"] = torch.zeros(41)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (double_a_weight, "model_id is .* by content, .* by its card; it was altered"),
        (drop_a_tensor, r"Missing key\(s\).*encoder.0.weight"),
        (add_a_tensor, r"Unexpected key\(s\).*decoder.0.weight"),
        (reshape_a_tensor, "size mismatch for mlp.mean"),
    ],
)
def test_tensors_that_are_not_those_of_the_card_are_refused(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], None], said: str
) -> None:
    edit_tensors(folder, change)
    with pytest.raises(CheckpointError, match=said) as caught:  # without (?s): in one line
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: card.update(format="estampa-checkpoint-0"), "not of format estampa-checkpoint-1"),
        (lambda card: card.pop("description"), "does not fit this version of estampa: 'description'"),
        (lambda card: card.pop("encoder_id"), "encoder_id is .* by content, None by its card"),
        (lambda card: card["description"]["mlp"].update(layers=3), "unexpected keyword argument 'layers'"),
        (lambda card: card["description"]["encoder"].update(latent=41), "size mismatch"),
        (lambda card: card["description"]["classes"].reverse(), "model_id .* it was altered"),
        (lambda card: card["description"]["preprocessing"].update(normalisation="zscore"), "it is 'minmax' or 'noise'"),
        (lambda card: card["description"]["preprocessing"].update(size=99), "1 to 63 pixels"),
    ],
)
def test_a_card_that_is_not_that_of_the_tensors_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    edit_card(folder, change)
    with pytest.raises(CheckpointError, match=f"(?s){said}"):
        load(folder)


def parts_that_do_not_fit() -> list[tuple[str, dict[str, Any]]]:
    encoder = freeze(build_encoder(EncoderConfig(size=27)))
    return [
        ("4 classes", {"classes": ("AGN", "SN", "VS", "bogus")}),
        ("3×23 pixels and its encoder takes 3×21", {"preprocessing": Preprocessing(23)}),
        ("2×21 pixels", {"preprocessing": Preprocessing(channels=("science", "difference"))}),
        ("encoder takes 3×27", {"encoder": encoder, "encoder_config": EncoderConfig(size=27)}),
        ("mlp is of 42 latents and 6 classes", {"mlp": Mlp(MlpConfig(classes=6))}),
        ("recurrent is of 30 latents", {"recurrent": Recurrent(RecurrentConfig(latent=30))}),
    ]


@pytest.mark.parametrize(("said", "changes"), parts_that_do_not_fit())
def test_parts_that_do_not_go_together_are_refused_before_the_first_alert(
    tmp_path: Path, checkpoint: Checkpoint, said: str, changes: dict[str, Any]
) -> None:
    save(replace(checkpoint, **changes), tmp_path)
    with pytest.raises(CheckpointError, match=said):
        load(tmp_path)


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of a card: this value at that place."""

    def change(card: dict[str, Any]) -> None:
        for name in path[:-1]:
            card = card[name]
        card[path[-1]] = value

    return change


NESTED: Any = json.loads("[" * 40 + "]" * 40)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("description", value=[]), r"its description is \[\], of another type than dict"),
        (put("description", "mlp", value=[1]), "its mlp is"),
        (put("description", "recurrent", value=None), "its recurrent is None"),
        (put("description", "encoder", value="e"), "its encoder is 'e'"),
        (put("description", "mlp", "metadata", value={"a": 1}), "its metadata of mlp is"),
        (put("description", "mlp", "metadata", value=[3]), "not subscriptable"),
        (put("description", "preprocessing", "channels", value="science"), "its channels is 'science'"),
        (put("description", "preprocessing", "size", value=21.0), r"size is 21\.0"),
        (put("description", "classes", value="AGN"), "its classes is 'AGN'"),
        (put("description", "classes", value=[]), "classes must be some"),
        (put("description", "classes", value=["AGN", "AGN"]), "each once"),
        (put("description", "classes", value=[["AGN"]]), "unhashable"),
        (put("description", "classes", value=["AGN", 7]), "its name is 7"),
        (put("description", "classes", value=["AGN", "\ud800"]), "surrogates not allowed"),
        (put("name", value=None), "its name is None"),
        (put("name", value=""), "a name has 0 letters; give 1 to 200"),
        (put("name", value="é" * 101), "a name has 101 letters"),
        (put("metadata", value=[1]), "its metadata is"),
        (put("metadata", value={"deep": NESTED}), "nests deeper than 32"),
        (put("description", "mlp", "hidden", value=30_000_000), "MlpConfig.hidden is 30000000; give 1 to 65536"),
        (put("description", "mlp", "hidden", value=10**400), "MlpConfig.hidden is 1000"),
        (put("description", "mlp", "hidden", value="128"), "MlpConfig.hidden is '128'"),
        (put("description", "mlp", "hidden", value=True), "MlpConfig.hidden is True"),
        (put("description", "mlp", "hidden", value=[128]), r"MlpConfig.hidden is \[128\]"),
        (put("description", "mlp", "dropout", value=float("nan")), "MlpConfig.dropout is nan; give 0 to 1"),
        (put("description", "recurrent", "layers", value=10**9), "RecurrentConfig.layers is 1000000000; give 1 to 64"),
        (put("description", "recurrent", "dropout", value="0"), "RecurrentConfig.dropout is '0'"),
        (put("description", "encoder", "latent", value=-1), "EncoderConfig.latent is -1"),
        (put("description", "encoder", "size", value=0), "EncoderConfig.size is 0"),
    ],
)
def test_a_card_of_wrong_types_or_numbers_is_refused_in_one_line(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    edit_card(folder, change)
    with pytest.raises(CheckpointError, match=f"^checkpoint {folder} does not fit .*{said}") as caught:
        load(folder)
    assert len(str(caught.value)) < 400


def test_a_card_that_nests_without_end_is_refused(folder: Path) -> None:
    (folder / "model.json").write_text("[" * 200_000)
    with pytest.raises(CheckpointError, match=r"cannot be read: .*recursion"):
        load(folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_file_larger_than_any_checkpoint_s_is_refused_unread(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(2**40)  # a hole, which takes no disk
    with pytest.raises(CheckpointError, match=f"{name} has 1099511627776 bytes"):
        load(folder)


def test_what_is_no_file_is_refused_unopened(folder: Path) -> None:
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")
    with pytest.raises(CheckpointError, match=r"model\.json is no file"):
        load(folder)


def test_an_architecture_that_is_not_the_tensors_is_refused_before_it_is_built(folder: Path) -> None:
    """Of 25,000 units, 7.5 GB, in a process that may take 4 GB more than it has."""
    edit_card(folder, put("description", "recurrent", "hidden", value=25_000))
    code = f"""
import resource
from pathlib import Path
from model_zoo.checkpoint import load
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 2**30,) * 2)
load(Path({str(folder)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert "size mismatch for recurrent.gru.weight_ih_l0" in done.stderr
    assert "allocate" not in done.stderr


def test_to_look_at_shapes_draws_no_random_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training goes on from the same numbers whether a checkpoint was checked or not."""
    monkeypatch.setattr("model_zoo.checkpoint.safetensors.torch.load_file", lambda _: {}["never built for real"])
    before = torch.get_rng_state()
    with pytest.raises(CheckpointError, match="never built for real"):
        load(folder)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("encoder.0.weight", float("nan"), "not finite"),
        ("mlp.layers.0.bias", float("inf"), "not finite"),
        ("mlp.deviation", 0.0, "not above 0"),
        ("recurrent.temperature", -1.0, "not above 0"),
        ("encoder.1.running_var", -1.0, "below 0"),
    ],
)
def test_a_tensor_that_makes_probabilities_no_numbers_is_refused(
    tmp_path: Path, checkpoint: Checkpoint, name: str, value: float, said: str
) -> None:
    with torch.no_grad():
        checkpoint._tensors()[name].view(-1)[0] = value  # saved with ids that are right
    save(checkpoint, tmp_path)
    with pytest.raises(CheckpointError, match=f"tensor {name} holds values .*{said}"):
        load(tmp_path)


def test_a_column_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    save(random_checkpoint(metadata=("magpsf",)), tmp_path)
    edit_card(tmp_path, lambda card: card["description"]["mlp"]["metadata"][0].update(levels=[0.0, float("nan")]))
    with pytest.raises(CheckpointError, match="'magpsf' has a knot or a level that is not finite"):
        load(tmp_path)


@pytest.mark.parametrize("change", [put("name", value="another"), put("metadata", "accuracy", value=0.9)])
def test_a_card_whose_name_or_metadata_were_changed_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    edit_card(folder, change)
    with pytest.raises(CheckpointError, match=r"card_id is .* by content, .* by its card; it was altered"):
        load(folder)


def test_a_card_of_an_earlier_version_has_no_hash_of_its_name_and_loads(folder: Path) -> None:
    edit_card(folder, lambda card: card.pop("card_id"))
    assert load(folder).name == "random-0"


def test_the_hash_of_a_card_is_that_of_what_comes_back_from_json(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save(replace(checkpoint, metadata={"by_fold": {10: (0.5, 0.25), 9: None}}), tmp_path)
    assert load(tmp_path).metadata == {"by_fold": {"10": [0.5, 0.25], "9": None}}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_card_that_is_not_json_of_a_card_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=str(folder)):
        load(folder)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(folder)


class Exploit:
    ran = False

    def __reduce__(self) -> Any:
        return setattr, (Exploit, "ran", True)


def test_a_pickle_in_the_place_of_the_weights_is_refused_and_not_run(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(folder)
    assert not Exploit.ran


# Finding


def test_a_checkpoint_is_found_by_its_folder(folder: Path) -> None:
    assert resolve(str(folder)) == folder


def test_a_name_that_is_nowhere_tells_which_are_shipped(tmp_path: Path) -> None:
    shipped = sorted(path.parent.name for path in WEIGHTS.glob("*/model.json"))
    with pytest.raises(CheckpointError, match="no checkpoint at 'frist'") as caught:
        resolve("frist")
    assert all(name in str(caught.value) for name in shipped)


def test_every_shipped_checkpoint_loads() -> None:
    names = [path.parent.name for path in WEIGHTS.glob("*/model.json")]
    assert names
    for name in names:
        assert load(resolve(name)).classes


def test_metadata_comes_back_and_is_part_of_the_models_id_and_not_of_the_encoders(tmp_path: Path) -> None:
    seeing = random_checkpoint(metadata=("magpsf", "g_r"))
    save(seeing, tmp_path)
    found = load(tmp_path)
    assert found.mlp.config == seeing.mlp.config
    first, second = seeing.mlp.config.metadata
    moved = Mlp(replace(seeing.mlp.config, metadata=(replace(first, levels=(0.0, 1.0)), second)))
    moved.load_state_dict(seeing.mlp.state_dict())
    other = replace(seeing, mlp=moved)
    assert other.model_id != seeing.model_id
    assert other.encoder_id == seeing.encoder_id == random_checkpoint().encoder_id


def test_a_column_that_would_give_the_label_away_is_refused_on_loading(tmp_path: Path) -> None:
    save(random_checkpoint(metadata=("magpsf",)), tmp_path)
    edit_card(tmp_path, lambda card: card["description"]["mlp"]["metadata"][0].update(name="drb"))
    with pytest.raises(CheckpointError, match="metadata column 'drb' is none that a head may see"):
        load(tmp_path)


def test_the_shipped_models_share_their_encoder() -> None:
    assert load(WEIGHTS / "estampa-serve").encoder_id == load(WEIGHTS / "estampa-serve-metadata").encoder_id
