"""The original's training configurations as options of this project, and what differs on purpose.

``fixtures/reference_configs.json`` holds the settings of the original's 15 YAML files. The model's
are translated by the converter of released checkpoints, the training's here. Every setting of the
original is translated or is in ``UNUSED``, every option of this project is translated to, is in
``OWN`` or differs as ``DIFFERENCES`` says. ``python -m tests.egs2.recipe.reference_mapping`` prints
the differences for docs/parity.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from espnet_plugin.model.compatibility import ReferenceCompatibility
from espnet_plugin.model.factory import default_options, projection
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.pretrained.convert.reference_config import map_config
from espnet_plugin.pretrained.storage import CONFIG_KEYS
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.tasks.speechclip_options import DEFAULT_MODEL
from espnet_plugin.utils.options import options_of

RECIPE = Path(__file__).parents[3] / "egs2" / "speechclip_plus"
TUNING = RECIPE / "conf" / "tuning"
ANY = object()

# Our configuration, and the file of the original with the same set-up.
FILES = {
    f"{corpus}_{size}_{architecture}": f"config/{paper}/model_{folder}/{file}.yaml"
    for corpus, size, folder in (
        ("flickr8k", "base", "base"),
        ("flickr8k", "large", "large/flickr"),
        ("spokencoco", "large", "large/coco"),
    )
    for architecture, paper, file in (
        ("parallel", "speechCLIP", "spchclp_p"),
        ("cascaded", "speechCLIP", "spchclp_c"),
        ("cascaded_plus", "speechCLIP+", "spchclip_c+"),
        ("hybrid", "speechCLIP+", "spchclip_h"),
        ("hybrid_plus", "speechCLIP+", "spchclip_h+"),
    )
}
ENCODERS = {
    "hubert": "facebook/hubert-base-ls960",
    "hubert_large_ll60k": "facebook/hubert-large-ll60k",
}
VOCABULARIES = {
    f"./avssl/data/{corpus}_stat/text_clip_vocab_usage_byfreq.npy": "all"
    for corpus in ("flickr", "coco")
}
# Spoken captions of the training sets. The original leaves an epoch's incomplete last batch out.
CAPTIONS = {"flickr8k": 30_000, "spokencoco": 567_168}
SAMPLING_RATE = 16_000

# the vocabulary is compared by where its captions come from
# the vocabulary is made by stage 5, a conversion notes its file, stage 7 the languages
MODEL_OPTIONS = tuple(
    key
    for key in CONFIG_KEYS
    if key not in ("keyword_vocabulary", "converted_from", "spoken_languages")
)
TRAINING_OPTIONS = (
    "optim",
    "optim_conf",
    "scheduler",
    "scheduler_conf",
    "grad_clip",
    "use_amp",
    "batch_size",
    "accum_grad",
    "valid_batch_size",
    "sort_window",
    "crop_seconds",
    "normalize_before_crop",
    "num_iters_per_epoch",
    "max_epoch",
    "best_model_criterion",
)
RECIPE_OPTIONS = ("seed", "vocab_from", "min_wav_duration", "max_wav_duration")

# The switches that matter, by keyword extractor.
SWITCHES = {
    "cif": ("convolve_padding", "keep_leftovers", "norm_over_padding"),
    "cls": ("permuted_norm_init",),
}

# Options of this project about which the original's settings say nothing.
OWN = {
    "num_workers": "how many processes read the data",
    "keep_nbest_models": "the best checkpoint alone, which the original publishes too",
}


@dataclass(frozen=True)
class Unused:
    """Settings of the original that have no counterpart here.

    Attributes:
        field: Name of the settings, with wildcards.
        reason: Why there is none.
        value: The one value for which the reason holds.
        configs: The configurations for which it holds, with wildcards.
    """

    field: str
    reason: str
    value: Any = ANY
    configs: str = "*"

    def covers(self, config: str, field: str, value: Any) -> bool:
        """Whether the reason holds for this setting."""
        return (
            fnmatchcase(config, self.configs)
            and fnmatchcase(field, self.field)
            and (self.value is ANY or self.value == value)
        )


KEYWORD = "model_settings.cascaded_branch."
CIF = f"{KEYWORD}downsampling.cif."
UNUSED = (
    Unused("data.dataset.text_file", "local/data.sh knows the corpora's files"),
    Unused("data.dataset.split_prefix", "local/data.sh knows the corpora's files"),
    Unused("data.dataset.load_image", "training needs both", True),
    Unused("data.dataset.load_audio", "training needs both", True),
    Unused("data.dataset.tokenizeText", "captions have no part in the objectives", True),
    Unused("data.split_ratio", "both corpora come with their splits"),
    Unused("model_settings.keyword_objective_weight", "an objective that is off", 0.0),
    Unused("model_settings.matching_objective_weight", "an objective that is off", 0.0),
    Unused("model_settings.parallel_objective_weight", "no such branch", 0.0, "*_cascaded*"),
    Unused("model_settings.parallel_branch.*", "no such branch", configs="*_cascaded*"),
    Unused(
        "model_settings.parallel_branch.transformer_args.*",
        "the keyword branch's block serves both branches",
        configs="*_hybrid*",
    ),
    Unused(f"{KEYWORD}*", "no such branch", configs="*_parallel"),
    Unused(f"{KEYWORD}downsampling.*", "the keywords come from CLS queries", configs="*_hybrid"),
    Unused(f"{CIF}using_gt_len", "read elsewhere, so without effect here", False),
    Unused(f"{CIF}cif_output_dim", "follows from the encoder"),
    Unused(f"{CIF}encoder_embed_dim", "follows from the encoder"),
    Unused(f"{CIF}conv_cif_output_channels_num", "follows from the encoder"),
    Unused(f"{CIF}dense_cif_units_num", "of weights that are made by a dense layer"),
    Unused(f"{CIF}produce_weight_type", "the only kind that works", "conv"),
    Unused(f"{CIF}conv_cif_layer_num", "the original reads num_layer instead"),
    Unused(f"{CIF}conv_cif_dropout", "the original's dropouts are 0.5 whatever stands here"),
    Unused(f"{CIF}add_cif_ctxt_layers", "layers that are off", False),
    Unused(f"{KEYWORD}keyword.retrieve_method", "the quantizer compares by cosine", "cosine"),
    Unused(f"{KEYWORD}keyword.batchnorms.type", "a norm per keyword, or over all", "eachKw"),
    Unused(f"{KEYWORD}keyword.batchnorms.parallel", "another layout of the same norm", True),
    Unused(f"{KEYWORD}keyword.diversity_type", "of an objective that is off"),
    Unused(f"{KEYWORD}keyword.diversity_weight", "an objective that is off", 0.0),
    Unused(f"{KEYWORD}keyword.attention_constraints.*", "an objective that is off", 0.0),
    Unused(f"{KEYWORD}transformer_args.attn_diversity_weight", "an objective that is off", 0.0),
    Unused(f"{KEYWORD}transformer_args.n_layers", "the attention block is one layer", 1),
    Unused(f"{KEYWORD}transformer_args.dim_feedforward", "the attention block has none"),
    Unused(f"{KEYWORD}transformer_args.norm_first", "the attention block's norm comes last", False),
    Unused("model_settings.*.transformer_args.d_model", "follows from the encoder"),
    Unused("model_settings.*.transformer_args.activation", "the transformer's own", "gelu"),
    Unused("model_settings.*.transformer_args.layer_norm_eps", "PyTorch's own", 1e-5),
    Unused("model_settings.*.transformer_args.batch_first", "the layout of tensors"),
    Unused(f"{KEYWORD}vq.activation", "the quantizer has none"),
    Unused(f"{KEYWORD}vq.type", "the quantizer there is", "SimpleVectorQuantizer"),
    Unused(f"{KEYWORD}vq.bn_before_vq", "the keyword norm comes before the quantizer", True),
    Unused(f"{KEYWORD}vq.args.time_first", "the layout of tensors"),
    Unused(f"{KEYWORD}vq.args.use_gumbel", "the quantizer draws nothing", False),
    Unused(
        "retrieval.audio_feat_src",
        "the hybrids' files name either branch, their checkpoints name the parallel one",
        configs="*_hybrid*",
    ),
    Unused("retrieval.recall_at", "as here", [1, 5, 10]),
    Unused("clip.*_encoder_trainable", "CLIP is frozen", False),
    Unused("audio_encoder.type", "the same weights in another library", "FairseqHubert"),
    Unused("audio_encoder.downsampling_rate", "HuBERT's own", 320),
    Unused("audio_encoder.pretrained", "the encoder is pretrained", True),
    Unused("audio_encoder.trainable", "the encoder is frozen", False),
    Unused("audio_encoder.feat_select_idx", "the layers' weighted sum", "weighted_sum"),
    Unused("audio_encoder.layer_drop", "the frozen encoder drops no layer", 0.0),
    Unused("trainer.num_sanity_val_steps", "ESPnet has no such steps", 0),
    Unused("trainer.accelerator", "--ngpu says it"),
    Unused("trainer.fast_dev_run", "left on by mistake: two batches and no training"),
)


@dataclass(frozen=True)
class Difference:
    """An option that differs from the original on purpose.

    Attributes:
        option: Our name; with dashes an option of ``run.sh``.
        original: What the original has.
        ours: What we have.
        reason: Why.
        configs: The configurations that differ so, with wildcards.
    """

    option: str
    original: Any
    ours: Any
    reason: str
    configs: tuple[str, ...] = ("*",)

    def covers(self, config: str) -> bool:
        """Whether this configuration differs so."""
        return any(fnmatchcase(config, pattern) for pattern in self.configs)


SPEECHCLIP_PLUS = ("*_plus", "*_hybrid")
PLUS = ("*_plus",)
CLS = ("*_cascaded", "*_hybrid")
DIFFERENCES = (
    Difference(
        "speech_encoder_conf.dropout_in_training",
        True,
        False,
        "D26 above",
        ("flickr8k_base_*",),
    ),
    Difference(
        "speech_encoder_conf.frame_length_rule",
        "rounded",
        "exact",
        "D25 above",
    ),
    Difference(
        "model_conf.compatibility.norm_over_padding",
        True,
        False,
        "D15 above",
        PLUS,
    ),
    Difference(
        "model_conf.compatibility.keep_leftovers",
        True,
        False,
        "D17 above",
        PLUS,
    ),
    Difference(
        "model_conf.compatibility.convolve_padding",
        True,
        False,
        "D19 above",
        PLUS,
    ),
    Difference(
        "model_conf.compatibility.permuted_norm_init",
        True,
        False,
        "D14 above",
        CLS,
    ),
    Difference(
        "accum_grad",
        4,
        1,
        "the released checkpoint has 256 utterances an update, not 1,024",
        ("flickr8k_large_hybrid",),
    ),
    Difference(
        "max_epoch", 1725, 428, "50,000 updates without accumulation", ("flickr8k_large_hybrid",)
    ),
    Difference(
        "valid_batch_size",
        6,
        8,
        "eight GPUs can share it; recall is unaffected",
        SPEECHCLIP_PLUS,
    ),
    Difference("--vocab_from", "all", "train", "dev and test captions stay out of the vocabulary"),
    Difference("--min_wav_duration", None, 0.5, "seconds; shorter training recordings are broken"),
    Difference(
        "--max_wav_duration",
        None,
        30,
        "seconds; longer training recordings hold more than their captions",
    ),
    Difference(
        "--seed", 7122, 0, "batches are drawn differently, so no seed repeats the original's"
    ),
)

# Behaviour without an option: checked by other tests, listed below the options.
BEHAVIOUR = (
    "`use_amp: true` means bfloat16 on GPUs that have it, else float16; the original used float16.",
    "No batch holds two captions of one image; the original's batches do.",
    "Training ends with a whole epoch, up to a thousand updates after the 50,000th.",
)


def reference_settings(name: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    """The original's settings as options of this project, as they act.

    Args:
        name: Our configuration with the same set-up.
        flat: Settings of the original's file, names joined by dots.

    Raises:
        KeyError, ValueError: If a setting has a value that cannot be translated.
    """
    reference = complete(name, nested(flat))
    data, encoder, trainer = (reference[key] for key in ("data", "audio_encoder", "trainer"))
    model = map_config(reference, weight_names(reference))
    model["speech_encoder_conf"] |= {
        "model": ENCODERS[model["speech_encoder_conf"]["model"]],
        # while training; the converter's is that of lone utterances
        "frame_length_rule": "rounded",
        # the trainer puts the encoder into training mode; the large one has no dropout to act
        "dropout_in_training": "_large_" not in name,
    }
    model["clip_conf"] |= {"pretrained": "openai"}
    model["model_conf"]["compatibility"] = asdict(ReferenceCompatibility.all())
    schedule = encoder["scheduler"]
    updates = CAPTIONS[name.partition("_")[0]] // data["batch_size"]
    updates //= trainer["accumulate_grad_batches"]
    branch = "parallel" if "hybrid" in name else reference["retrieval"]["audio_feat_src"]
    k = 1 if FILES[name].startswith("config/speechCLIP/model_base/") else 10
    training = {
        "optim": "adam",
        "optim_conf": {
            "lr": schedule["final_lr"],
            "weight_decay": encoder["optim"]["args"]["weight_decay"],
        },
        "scheduler": "piecewiselinearwarmuplr",
        "scheduler_conf": {
            "warmup_steps_list": [0, schedule["warmup"], schedule["max_step"]],
            "warmup_lr_list": [0.0, encoder["optim"]["args"]["lr"], schedule["final_lr"]],
        },
        "grad_clip": trainer["gradient_clip_val"],
        "use_amp": {16: True, 32: False}[trainer["precision"]],
        "batch_size": data["batch_size"],
        "accum_grad": trainer["accumulate_grad_batches"],
        "valid_batch_size": data["dev_batch_size"],
        "sort_window": 1,
        "crop_seconds": encoder["max_audio_len"] / SAMPLING_RATE,
        # the data set normalises, then cuts; large encoders normalise what they get
        "normalize_before_crop": data["dataset"].get("normalize_waveform", False),
        "num_iters_per_epoch": {1: None}[trainer["check_val_every_n_epoch"]],
        "max_epoch": math.ceil(trainer["max_steps"] / updates),
        "best_model_criterion": [["valid", f"{branch}_recall_mean_at_{k}", "max"]],
        "--seed": 7122,
        "--vocab_from": VOCABULARIES[reference["clip"]["reduce_subword_embbedding"]],
        "--min_wav_duration": None,
        "--max_wav_duration": None,
    }
    return effective(model | training)


def complete(name: str, reference: dict[str, Any]) -> dict[str, Any]:
    """Adds what the fixture leaves out: names and projections.

    The projections are in the authors' public files; SpeechCLIP's name none, but its large
    cascaded model is published with 6.1 million parameters, which it has with two layers only.
    """
    large = "_large_" in name
    reference["clip"]["name"] = reference["data"]["dataset"]["clip_image_transform"]
    reference["audio_encoder"]["name"] = "hubert_large_ll60k" if large else "hubert"
    two_layers = {"dropout": 0.1, "dimensions": [1024, 1024, 768]}
    settings = reference["model_settings"]
    if large:
        settings["cascaded_branch"]["keyword"]["kw_projection"] = two_layers
    if name == "flickr8k_large_hybrid":
        settings["parallel_branch"]["projection_config"] = two_layers
    return reference


def weight_names(reference: Mapping[str, Any]) -> set[str]:
    """Names of weights that a model of these settings has, as far as the converter asks."""
    settings = reference["model_settings"]
    keywords = settings["cascaded_objective_weight"] > 0
    prefix = "cascaded_branch" if keywords else "parallel_branch"
    branch = settings[prefix]
    kind = branch.get("transformer_type") or branch["transformer_args"]["type"]
    block = {
        "MultiheadAttentionAndNorm": ["multihead_attn_layer.in_proj_weight"],
        "TransformerEncoder": [
            f"model.layers.{layer}.linear1.weight"
            for layer in range(branch["transformer_args"]["n_layers"])
        ],
    }[kind]
    names = {f"{prefix}.self_att.{name}" for name in block}
    if keywords:
        names.add("cascaded_branch.vector_quantizer.curr_temp")
    if "projection_config" in settings["parallel_branch"]:
        names.add("cascaded_branch.parallel_proj.sequential.0.weight")
    return names


def our_settings(name: str) -> dict[str, Any]:
    """The options of a configuration of the recipe, as they act."""
    parser = SpeechCLIPTask.get_parser()
    args = vars(parser.parse_args(["--config", str(TUNING / f"{name}.yaml")]))
    options = {option: args[option] for option in (*MODEL_OPTIONS, *TRAINING_OPTIONS)}
    corpus = recipe_options(name.partition("_")[0])
    options |= {f"--{option}": yaml.safe_load(corpus[option]) for option in RECIPE_OPTIONS}
    return effective(options)


def recipe_options(corpus: str) -> dict[str, str]:
    """The defaults of ``speechclip.sh``, with what ``run.sh`` sets for a corpus."""
    defaults = re.findall(r"^(\w+)=(\S*)", (RECIPE / "speechclip.sh").read_text(), re.M)
    run_sh = (RECIPE / "run.sh").read_text()
    settings = re.search(rf"^    {corpus}\)\s+settings=\((.*?)\);;", run_sh, re.M | re.S)
    assert settings is not None, f"run.sh has no settings of {corpus}"
    chosen = re.findall(r"--(\w+) (\S+)", settings[1])
    return dict([*defaults, *chosen])


def effective(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options with their defaults filled in and without those of parts that are not there.

    Returns:
        Values by the option's name, names joined by dots.
    """
    model = DEFAULT_MODEL | config["model_conf"]
    extractor = config["keyword_extractor"]
    keywords = extractor not in (None, "none")
    defaults = {"layer_weighting_conf": options_of(LayerWeighting)}
    components, weights = ["speech_encoder", "attention", "loss"], []
    if model["parallel"]:
        defaults["parallel_projection_conf"] = options_of(projection)
        weights.append("parallel_weight")
    if keywords:
        defaults["keyword_projection_conf"] = options_of(projection)
        components += ["keyword_extractor", "keyword_norm", "quantizer"]
        weights.append("cascaded_weight")
    if extractor == "cif":
        weights.append("quantity_weight")
    defaults |= {f"{key}_conf": default_options(config, key) for key in components}
    options = {name: value for name, value in config.items() if not name.endswith("_conf")}
    if keywords:
        options.setdefault("keyword_norm", "batch")
    else:
        options["keyword_extractor"] = "none"
        for name in ("keyword_norm", "quantizer"):
            options.pop(name, None)
    options["best_model_criterion"] = [list(entry) for entry in config["best_model_criterion"]]
    for name, known in defaults.items():
        options[name] = known | (config.get(name) or {})
    normalize = options["layer_weighting_conf"]["normalize"]
    options["layer_weighting_conf"] = {
        "normalize": LayerWeighting(1, normalize=normalize).normalize
    }
    for name in ("clip_conf", "optim_conf", "scheduler_conf"):
        options[name] = config[name]
    switches = asdict(ReferenceCompatibility.from_config(model["compatibility"]))
    options["model_conf"] = {
        **{name: model[name] for name in ("parallel", *weights)},
        "compatibility": {name: switches[name] for name in SWITCHES.get(extractor, ())},
    }
    return dict(flattened(options))


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return result


def flattened(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The reverse of :func:`nested`."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value


def differences() -> str:
    """The differences, as docs/parity.md lists them."""
    rows = ["| option | original | here | why |", "|---|---|---|---|"]
    for difference in DIFFERENCES:
        reason = difference.reason
        if difference.configs != ("*",):
            named = ", ".join(f"`{pattern}`" for pattern in difference.configs)
            reason += f" ({named})"
        values = " | ".join(as_text(v) for v in (difference.original, difference.ours))
        rows.append(f"| `{difference.option}` | {values} | {reason} |")
    return "\n".join([*rows, "", *(f"- {sentence}" for sentence in BEHAVIOUR)])


def as_text(value: Any) -> str:
    """A value as one would write it in a table."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    print(differences())
