"""Finding and reading CLIP weights, good and bad."""

from __future__ import annotations

from collections import OrderedDict

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.clip_config import ClipConfig, image_transform, read_clip_config
from espnet_plugin.teachers.clip_weights import (
    OPENAI_KEYS,
    ROWS,
    find_weights,
    looks_like_openai_file,
    read_token_embedding,
)
from tests.pickles import touch
from tests.tiny import tiny_clip_config, tiny_clip_weights


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clip")
    config = tiny_clip_config(directory)
    return config, tiny_clip_weights(directory, config)


def test_pickled_state_dicts(files, tmp_path):
    config, weights = files
    tensors = load_file(weights)
    expected = FrozenCLIP(model=str(config), pretrained=str(weights)).state_dict()
    torch.save(tensors, tmp_path / "plain.pt")
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in tensors.items()}},
        tmp_path / "training.bin",
    )
    torch.save(tensors, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    distributed = {f"module.{key}": value for key, value in tensors.items()}
    save_file(distributed, tmp_path / "distributed.safetensors")
    for name in ("plain.pt", "training.bin", "legacy.pth", "distributed.safetensors"):
        clip = FrozenCLIP(model=str(config), pretrained=str(tmp_path / name))
        for key, value in clip.state_dict().items():
            assert torch.equal(value, expected[key])


def test_token_embeddings_that_are_left_out_are_zero(files, tmp_path):
    config, weights = files
    tensors, name, path = load_file(weights), "token_embedding.weight", tmp_path / "few.safetensors"
    ids = torch.tensor([320, 49406, 49407])
    table = torch.zeros(49408, tensors[name].shape[1])
    table[ids] = tensors[name][ids].half().float()
    few = {**tensors, name: tensors[name][ids].half(), name + ROWS: ids}
    save_file(few, path)
    clip = FrozenCLIP(model=str(config), pretrained=str(path))
    assert torch.equal(clip.token_embedding, table)
    assert torch.equal(read_token_embedding(path), table)
    for bad in ({name + ROWS: ids + 1}, {name + ROWS: ids[:2]}, {name: torch.zeros(2)}):
        save_file({**few, **bad}, path)
        with pytest.raises(ValueError, match=r"few\.safetensors: token_embedding.weight.rows does"):
            read_token_embedding(path)


def save_torchscript(path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    return path


def test_torchscript_is_refused_with_the_tag_to_use(files, tmp_path):
    path = save_torchscript(tmp_path / "tiny.pt")
    with pytest.raises(ValueError, match=r"tiny\.pt: a TorchScript.*use the tag openai"):
        FrozenCLIP(model=str(files[0]), pretrained=str(path))


def test_numbers_beside_the_weights_tell_openais(files, tmp_path):
    numbers = dict.fromkeys(OPENAI_KEYS, torch.tensor(1))
    torch.save({**load_file(files[1]), **numbers}, tmp_path / "tiny.pt")
    FrozenCLIP(model=str(files[0]), pretrained=str(tmp_path / "tiny.pt"))
    plain = tiny_clip_config(tmp_path, quick_gelu=False)
    with pytest.raises(ValueError, match=r'QuickGELU.*"quick_gelu": true'):
        FrozenCLIP(model=str(plain), pretrained=str(tmp_path / "tiny.pt"))


def test_unusable_files_are_named(files, tmp_path):
    """What a file of weights may hold is in test_weights.py."""
    config, weights = files
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut\.safetensors: not a safetensors file"):
        FrozenCLIP(model=str(config), pretrained=str(tmp_path / "cut.safetensors"))
    torch.save({"a": touch(tmp_path / "executed")}, tmp_path / "call.pt")
    with pytest.raises(ValueError, match=r"call\.pt: refuses to unpickle posix.system"):
        FrozenCLIP(model=str(config), pretrained=str(tmp_path / "call.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="no state dict"):
        FrozenCLIP(model=str(config), pretrained=str(tmp_path / "list.pt"))
    torch.save(OrderedDict(positional_embedding=torch.zeros(3, 3)), tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is missing.* more"):
        FrozenCLIP(model=str(config), pretrained=str(tmp_path / "other.pt"))
    with pytest.raises(FileNotFoundError, match="absent.pt"):
        FrozenCLIP(model=str(config), pretrained=str(tmp_path / "absent.pt"))


def test_configurations(files, tmp_path):
    assert read_clip_config("ViT-B/32").name == "ViT-B-32"
    assert read_clip_config("ViT-L-14-quickgelu").quick_gelu
    with pytest.raises(ValueError, match="no model 'ViT-B-33'"):
        read_clip_config("ViT-B-33")
    with pytest.raises(FileNotFoundError, match="absent.json"):
        read_clip_config(str(tmp_path / "absent.json"))
    (tmp_path / "bad.json").write_text('{"embed_dim": 3}')
    with pytest.raises(ValueError, match="lacks vision_cfg, text_cfg"):
        read_clip_config(str(tmp_path / "bad.json"))
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(ValueError, match="not a JSON file"):
        read_clip_config(str(tmp_path / "no.json"))


@pytest.mark.parametrize(
    ("model", "tag", "remedy"),
    [
        ("ViT-B-32", "openai", "ViT-B-32-quickgelu"),
        ("ViT-L/14", "openai", "ViT-L-14-quickgelu"),
        ("ViT-B-32", "laion400m_e32", "ViT-B-32-quickgelu"),
    ],
)
def test_quickgelu_mismatch_of_tags_is_refused(model, tag, remedy):
    with pytest.raises(ValueError, match=f"needs QuickGELU.*{remedy}"):
        find_weights(read_clip_config(model), tag)


def test_gelu_weights_in_quickgelu_model_are_refused(monkeypatch):
    config = read_clip_config("ViT-B-32-quickgelu")
    with pytest.raises(ValueError, match="neither a file nor a tag"):
        find_weights(config, "laion2b_s34b_b79k")
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: ["other"])
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: {"url": "a/b.pt"})
    with pytest.raises(ValueError, match="trained with GELU.*to ViT-B-32$"):
        find_weights(config, "other")


def test_openai_files_are_known_by_name(tmp_path):
    for name in ("ViT-B-32.pt", "ViT-L-14-336px.pt", "my_openai_copy.safetensors"):
        (tmp_path / name).write_bytes(b"")
        assert looks_like_openai_file(tmp_path / name)
        with pytest.raises(ValueError, match="QuickGELU"):
            find_weights(ClipConfig("tiny", {"quick_gelu": False}), str(tmp_path / name))
    hub = tmp_path / "models--timm--vit_base_patch32_clip_224.openai" / "snapshots" / "abc"
    hub.mkdir(parents=True)
    (hub / "open_clip_model.safetensors").write_bytes(b"")
    assert looks_like_openai_file(hub / "open_clip_model.safetensors")
    (tmp_path / "mini.safetensors").write_bytes(b"")
    assert not looks_like_openai_file(tmp_path / "mini.safetensors")


def test_a_file_of_a_named_model_is_normalised_as_all_its_tags_are() -> None:
    siglip = read_clip_config("ViT-B-16-SigLIP")
    tagged, file = (str(image_transform(siglip, name)) for name in ("webli", "/x/weights.bin"))
    assert file == tagged and "0.5" in file
    clip = read_clip_config("ViT-B-32")
    assert str(image_transform(clip, "/x/weights.bin")) == str(image_transform(clip, "openai"))


def test_tags_mean_nothing_for_files(files):
    with pytest.raises(ValueError, match="it has none"):
        FrozenCLIP(model=str(files[0]), pretrained="openai")


def test_offline_says_which_file_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        FileNotFoundError,
        match=r"vit_base_patch32_clip_224\.openai.*open_clip_model\.safetensors.*pretrained",
    ):
        find_weights(read_clip_config("ViT-B-32-quickgelu"), "openai", cache_dir=tmp_path)


def test_cached_copy_is_taken_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = read_clip_config("ViT-B-32-quickgelu")
    (tmp_path / "ViT-B-32.pt").write_bytes(b"")
    assert find_weights(config, "openai", cache_dir=tmp_path) == tmp_path / "ViT-B-32.pt"
    save_torchscript(tmp_path / "ViT-B-32.pt")  # as OpenAI's own package left it
    with pytest.raises(FileNotFoundError, match="open_clip_model"):
        find_weights(config, "openai", cache_dir=tmp_path)
    repository = tmp_path / "models--timm--vit_base_patch32_clip_224.openai"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    cached = repository / "snapshots" / "abc" / "open_clip_model.safetensors"
    cached.write_bytes(b"")
    assert find_weights(config, "openai", cache_dir=tmp_path) == cached
