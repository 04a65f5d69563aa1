"""Models from strangers: whatever their files hold, nothing of it runs.

Every payload would leave a marker file. What a file of weights may hold is tested beside its
readers (``teachers/test_weights.py``); here such files come where a user meets them.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from espnet_plugin.apps.search.catalog import Catalog, State
from espnet_plugin.apps.search.model import identify_model
from espnet_plugin.bin import speechclip
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.model.factory import COMPONENTS, build_speechclip
from espnet_plugin.pretrained import load_speechclip, save_speechclip
from espnet_plugin.pretrained.storage import load_clip
from espnet_plugin.pretrained.trust import UntrustedModelError, check_trusted
from s3prl_upstream import speechclip_plus
from s3prl_upstream.expert import UpstreamExpert
from tests.local_hub import put_in_cache
from tests.pickles import touch
from tests.tiny import tiny_clip_config, tiny_clip_weights, tiny_hubert_dir

Payload = Callable[[Path, Path], str]  # damages a model, says what the error must say


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that loads."""
    root = tmp_path_factory.mktemp("models")
    clip = tiny_clip_config(root)
    config = {
        "speech_encoder": "huggingface",
        "speech_encoder_conf": {"model": str(tiny_hubert_dir(root))},
        "clip_conf": {"model": str(clip), "pretrained": str(tiny_clip_weights(root, clip))},
        "attention_conf": {"num_heads": 2},
        "keyword_extractor": "none",
    }
    save_speechclip(build_speechclip(config), config, root / "model")
    return root / "model"


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """What a payload would make; none has at the end."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


def load(source: Path | str, **options: Any) -> Any:
    return load_speechclip(source, image_tower=False, text_tower=False, **options)


def change(model: Path, **options: Any) -> None:
    """Changes the configuration of a model."""
    path = model / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, **options}))


def change_json(path: Path, section: str | None, **options: Any) -> None:
    content = json.loads(path.read_text())
    (content[section] if section else content).update(options)
    path.write_text(json.dumps(content))


def s3prl_checkpoint(model: Path, upstream: str, content: Any) -> str:
    torch.save(content, model / "speech_encoder" / "states.ckpt")
    conf = {"model": upstream, "checkpoint": "speech_encoder/states.ckpt"}
    change(model, speech_encoder="s3prl", speech_encoder_conf=conf)
    return f"names the s3prl upstream '{upstream}', which may run code.*trust_remote_code=True"


def mockingjay(model: Path, marker: Path) -> str:
    return s3prl_checkpoint(model, "mockingjay_local", {"Config": touch(marker)})


def distiller(model: Path, marker: Path) -> str:
    return s3prl_checkpoint(model, "distiller_local", {"Config": touch(marker)})


def hubert_configuration(model: Path, marker: Path) -> str:
    """All are plain values; s3prl evaluates one of them."""
    model_cfg = {
        "label_rate": 50.0,
        "conv_feature_layers": f"[__import__('os').system('touch {marker}')]",
    }
    content = {"task_cfg": {"normalize": False}, "model_cfg": model_cfg}
    content |= {"model_weight": {}, "dictionaries_symbols": [["a"]]}
    return s3prl_checkpoint(model, "hubert_local", content)


def wavlm_configuration(model: Path, marker: Path) -> str:
    cfg = {"conv_feature_layers": f"[__import__('os').system('touch {marker}')]"}
    return s3prl_checkpoint(model, "wavlm_local", {"cfg": cfg, "model": {}})


EXECUTABLE = [mockingjay, distiller, hubert_configuration, wavlm_configuration]


def safe_upstream_with_a_checkpoint(model: Path, marker: Path) -> str:
    s3prl_checkpoint(model, "fbank", touch(marker))
    return "names a checkpoint that s3prl reads"


def class_from_elsewhere(model: Path, marker: Path) -> str:
    change(model, attention="os:system")
    return "names the attention 'os:system', which may run code.*trust_remote_code=True"


def function_of_the_hub(model: Path, marker: Path) -> str:
    change(model, speech_encoder="s3prl", speech_encoder_conf={"model": "customized_upstream"})
    return "the s3prl upstream 'customized_upstream'"


def upstream_that_is_no_name(model: Path, marker: Path) -> str:
    change(model, speech_encoder="s3prl", speech_encoder_conf={"model": ["fbank"]})
    return r"the s3prl upstream .*fbank"


def options_that_are_none(model: Path, marker: Path) -> str:
    change(model, speech_encoder_conf=["model"])
    return "speech_encoder_conf: expected a mapping, got list"


def trust_in_the_file(model: Path, marker: Path) -> str:
    mockingjay(model, marker)
    change(model, trust_remote_code=True)
    return "the s3prl upstream 'mockingjay_local'"


def trust_in_an_option(model: Path, marker: Path) -> str:
    conf = {"model": "speech_encoder", "trust_remote_code": True}
    change(model, speech_encoder_conf=conf)
    return "trust_remote_code"


def python_tokenizer(folder: Path, marker: Path) -> str:
    folder.mkdir()
    (folder / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    names = {"AutoTokenizer": ["code.Evil", None], "AutoConfig": "code.Evil"}
    content = {"model_type": "evil", "auto_map": names, "tokenizer_class": "Evil"}
    for name in ("tokenizer_config.json", "config.json"):
        (folder / name).write_text(json.dumps(content))
    return str(folder)


def tokenizer_with_trust(model: Path, marker: Path) -> str:
    name = python_tokenizer(model / "clip" / "tokenizer", marker)
    options = {"hf_tokenizer_name": name, "tokenizer_kwargs": {"trust_remote_code": True}}
    change_json(model / "clip" / "tiny_clip.json", "text_cfg", **options)
    return "tokenizer_kwargs.trust_remote_code is not taken from a file"


def tokenizer_with_code(model: Path, marker: Path) -> str:
    name = python_tokenizer(model / "clip" / "tokenizer", marker)
    change_json(model / "clip" / "tiny_clip.json", "text_cfg", hf_tokenizer_name=name)
    return "names text_cfg.hf_tokenizer_name"


def text_tower_with_code(model: Path, marker: Path) -> str:
    name = python_tokenizer(model / "clip" / "tower", marker)
    change_json(model / "clip" / "tiny_clip.json", "text_cfg", hf_model_name=name)
    return "names text_cfg.hf_model_name"


def image_tower_from_elsewhere(model: Path, marker: Path) -> str:
    change_json(model / "clip" / "tiny_clip.json", "vision_cfg", timm_model_name="hf-hub:x/evil")
    return "names vision_cfg.timm_model_name 'hf-hub:x/evil'"


def encoder_with_code(model: Path, marker: Path) -> str:
    python_tokenizer(model / "code", marker)
    shutil.copy(model / "code" / "code.py", model / "speech_encoder")
    names = {"AutoConfig": "code.Evil", "AutoModel": "code.Evil"}
    options = {"model_type": "evil", "auto_map": names}
    change_json(model / "speech_encoder" / "config.json", None, **options)
    return "is a .evil. model; speech_encoder: huggingface knows .*speech_encoder: s3prl"


def quantized_encoder(model: Path, marker: Path) -> str:
    quantization = {"quant_method": "gptq", "bits": 4}
    change_json(model / "speech_encoder" / "config.json", None, quantization_config=quantization)
    return "is quantized"


def encoder_that_is_a_pickle(model: Path, marker: Path) -> str:
    (model / "speech_encoder" / "model.safetensors").unlink()
    torch.save({"a": touch(marker)}, model / "speech_encoder" / "pytorch_model.bin")
    return "speech_encoder: cannot read model.safetensors or pytorch_model.bin"


def yaml_tag(model: Path, marker: Path) -> str:
    text = (model / "config.yaml").read_text()
    tag = f"optim: !!python/object/apply:os.system ['touch {marker}']\n"
    (model / "config.yaml").write_text(text + tag)
    return "not a YAML file: could not determine a constructor"


def yaml_references(model: Path, marker: Path) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 12)]
    (model / "config.yaml").write_text("\n".join(lines))
    return "more than 1000000 values"


def yaml_that_holds_itself(model: Path, marker: Path) -> str:
    (model / "config.yaml").write_text("a: &a [*a]")
    return "more than 1000000 values"


def teacher_elsewhere(model: Path, marker: Path) -> str:
    change(model, speech_encoder_conf={"model": str(model.parent)})
    return "its speech_encoder_conf.model names .*, which is not a part of it"


def weights_that_are_a_pickle(model: Path, marker: Path) -> str:
    (model / "model.safetensors").write_bytes(pickle.dumps(touch(marker)))
    return "not a safetensors file"


FOLDERS: list[Payload] = [
    *EXECUTABLE,
    safe_upstream_with_a_checkpoint,
    class_from_elsewhere,
    function_of_the_hub,
    upstream_that_is_no_name,
    options_that_are_none,
    trust_in_the_file,
    trust_in_an_option,
    tokenizer_with_trust,
    tokenizer_with_code,
    text_tower_with_code,
    image_tower_from_elsewhere,
    encoder_with_code,
    quantized_encoder,
    encoder_that_is_a_pickle,
    yaml_tag,
    yaml_references,
    yaml_that_holds_itself,
    teacher_elsewhere,
    weights_that_are_a_pickle,
]


@pytest.mark.parametrize("payload", FOLDERS, ids=lambda payload: payload.__name__)
def test_nothing_runs(payload: Payload, model: Path, marker: Path) -> None:
    message = payload(model, marker)
    with pytest.raises((ValueError, OSError), match=message):
        load(model)


@pytest.mark.parametrize("key", COMPONENTS)
def test_no_class_from_elsewhere_whatever_it_stands_for(key: str) -> None:
    with pytest.raises(UntrustedModelError, match=f"model: .* names the .*{key}.* 'os:system'"):
        check_trusted({key: "os:system"}, "model")


@pytest.mark.parametrize(
    "named",
    [
        {"keyword_vocabulary": "notes/diary.txt"},
        {"keyword_vocabulary": "notes/absent.txt"},
        {"clip_conf": {"pretrained": "notes/diary.txt"}},
        {"speech_encoder_conf": {"model": "notes"}},
        {"keyword_vocabulary": "/etc/hostname"},
        {"clip_conf": {"pretrained": "../" * 20 + "dev/zero"}},
    ],
)
def test_a_packed_model_names_no_file_of_the_machine(
    named: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UntrustedModelError, match="its .* names .*, which is not a part of it"):
        check_trusted(named, "model", root=tmp_path / "model")
    downloads = {"speech_encoder_conf": {"model": "owner/name"}}
    check_trusted(downloads, "model", root=tmp_path / "model")


@pytest.mark.parametrize("trusted", [False, True])
def test_a_model_chooses_no_folder_of_downloads(
    trusted: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(ours))
    put_in_cache(model / "speech_encoder", "owner/name", theirs)
    change(model, speech_encoder_conf={"model": "owner/name", "cache_dir": str(theirs)})
    with pytest.raises(FileNotFoundError, match=f"in the cache {ours}"):
        load(model, trust_remote_code=trusted)


@pytest.mark.parametrize("payload", EXECUTABLE, ids=lambda payload: payload.__name__)
def test_no_entry_asks_or_runs(
    payload: Payload, model: Path, marker: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    payload(model, marker)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asks"))
    entries = (SpeechCLIP.from_pretrained, SpeechCLIPInference.from_pretrained, load_clip)
    for entry in (*entries, UpstreamExpert, speechclip_plus):
        with pytest.raises(UntrustedModelError):
            entry(str(model))
    with pytest.raises(ValueError, match="takes no trust_remote_code"):
        speechclip_plus(str(model), trust_remote_code=True)
    # by a name on the hub, from its cache
    put_in_cache(model, "owner/model", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UntrustedModelError):
        load("owner/model")


def test_a_repository_is_no_experiment_whose_files_lie_anywhere(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "model.safetensors").rename(model / "latest.pth")
    monkeypatch.setattr("espnet_plugin.pretrained.names._snapshot", lambda name, refresh: model)
    with pytest.raises(ValueError, match="owner/model: the repository holds no config.yaml with"):
        load("owner/model")


@pytest.mark.parametrize("payload", EXECUTABLE, ids=lambda payload: payload.__name__)
def test_the_users_word_lets_them_run(payload: Payload, model: Path, tmp_path: Path) -> None:
    """So the payloads are real."""
    pytest.importorskip("s3prl.hub")
    payload(model, tmp_path / "trusted")
    with pytest.raises((RuntimeError, TypeError, AttributeError)):
        load(model, trust_remote_code=True)
    assert (tmp_path / "trusted").exists()


def test_what_is_beside_a_model_is_ignored(model: Path, marker: Path) -> None:
    """Code for a known kind of model, a card and a template that would run, a kernel to fetch."""
    encoder = model / "speech_encoder"
    (encoder / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    names = {"AutoConfig": "code.Evil", "AutoModel": "code.Evil"}
    names |= {"AutoFeatureExtractor": "code.Evil"}
    options = {"auto_map": names, "attn_implementation": "evil/kernel"}
    change_json(encoder / "config.json", None, **options)
    change_json(encoder / "preprocessor_config.json", None, auto_map=names)
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}{% set x = cycler.__init__ %}"
    for name in ("README.md", "chat_template.jinja"):
        (encoder / name).write_text(template)
    for name in ("__init__.py", "conftest.py", "sitecustomize.py", "config.py", "expert.py"):
        (model / name).write_text(f"open({str(marker)!r}, 'w')\n")
    assert load(model).speech_encoder.num_layers == 3


def test_checkpoints_are_read_as_weights(model: Path, marker: Path) -> None:
    """Of an experiment, or of an older packed model that was unpacked; how, is tested there."""
    (model / "model.safetensors").unlink()
    torch.save({"speechclip.a": touch(marker)}, model / "model.pth")
    with pytest.raises(ValueError, match="refuses to unpickle posix.system"):
        load(model)


@pytest.mark.parametrize("text", ["!!python/name:os.system", "files: {a: ../outside.pth}", "{"])
def test_meta_is_not_read(text: str, model: Path, marker: Path) -> None:
    (model / "meta.yaml").write_text(f"{text}\n")
    assert load(model).speech_encoder.num_layers == 3


@pytest.mark.parametrize("payload", [mockingjay, tokenizer_with_code], ids=lambda p: p.__name__)
@pytest.mark.parametrize("command", [["search", "--text", "dog"], ["demo", "--port", "0"]])
def test_a_model_that_an_index_names(
    command: list[str], payload: Payload, model: Path, marker: Path, tmp_path: Path
) -> None:
    """The page and the search load it only if it is safe, or at the user's word."""
    expected = payload(model, marker)
    catalog = Catalog(tmp_path, create=True)
    catalog.set_state(State(str(model), identify_model(str(model)).fingerprint))
    catalog.close()
    with pytest.raises(SystemExit, match=expected):
        speechclip.main([*command, "--index", str(tmp_path)])
