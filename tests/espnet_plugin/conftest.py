"""A corpus of noise and tiny models, as files, for everything that runs ESPnet for real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

IMAGES = 6
CAPTIONS = 2
SAMPLES_PER_WORD = 1600


@dataclass(frozen=True)
class TinyCorpus:
    """Where things lie.

    Attributes:
        data: Directory with wav.scp, text, utt2image, utt2image_id, image.scp, image_feat.scp,
            utt2num_samples.
        utt2image: Image id of each utterance.
        speech_encoder: HuBERT directory.
        clip_model: open_clip configuration file.
        clip_weights: Weights file.
        vocabulary: tokens.tsv.
    """

    data: Path
    utt2image: dict[str, str]
    speech_encoder: Path
    clip_model: Path
    clip_weights: Path
    vocabulary: Path

    def data_arguments(self, part: str, *, speech: str = "wav.scp,speech,sound") -> list[str]:
        """ESPnet's data options of a part (train or valid)."""
        listed = (speech, "image_feat.scp,image,npy", "utt2image_id,image_id,text_int")
        options = [
            option
            for entry in listed
            for option in (f"--{part}_data_path_and_name_and_type", str(self.data / entry))
        ]
        return [*options, f"--{part}_shape_file", f"{self.data}/utt2num_samples"]


def write_scp(path: Path, table: dict[str, object]) -> None:
    path.write_text("".join(f"{key} {table[key]}\n" for key in sorted(table)))


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> TinyCorpus:
    """Six images with two captions each, spoken as noise."""
    from PIL import Image

    from tests.tiny import CLIP_DIM, tiny_clip_config, tiny_clip_weights, tiny_hubert_dir

    root = tmp_path_factory.mktemp("corpus")
    data = root / "data"
    data.mkdir()
    rng = np.random.RandomState(0)
    wavs: dict[str, object] = {}
    texts: dict[str, object] = {}
    utt2image: dict[str, str] = {}
    samples: dict[str, object] = {}
    pictures: dict[str, object] = {}
    embeddings: dict[str, object] = {}
    for number in range(IMAGES):
        image = f"img{number}"
        pictures[image] = data / f"{image}.png"
        pixels = rng.randint(0, 255, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(pictures[image])
        embedding = rng.randn(CLIP_DIM).astype(np.float32)
        np.save(data / f"{image}.npy", embedding / np.linalg.norm(embedding))
        for caption in range(CAPTIONS):
            utterance = f"{image}_{caption}"
            length = SAMPLES_PER_WORD * (2 + (number + caption) % 4)
            wavs[utterance] = data / f"{utterance}.wav"
            soundfile.write(wavs[utterance], 0.1 * rng.randn(length), 16000)
            texts[utterance] = " ".join(["a", "red", "dog", "runs"][: 2 + caption])
            samples[utterance] = length
            utt2image[utterance] = image
            embeddings[utterance] = data / f"{image}.npy"
    write_scp(data / "wav.scp", wavs)
    write_scp(data / "text", texts)
    write_scp(data / "utt2image", dict(utt2image))
    write_scp(data / "utt2image_id", {u: int(i[3:]) for u, i in utt2image.items()})
    write_scp(data / "utt2num_samples", samples)
    write_scp(data / "image.scp", pictures)
    write_scp(data / "image_feat.scp", embeddings)
    write_scp(data / "image_embedding.scp", {i: data / f"{i}.npy" for i in pictures})
    clip_model = tiny_clip_config(root)
    vocabulary = root / "tokens.tsv"
    tokens = [(320, "a</w>", 12), (736, "red</w>", 6), (1929, "dog</w>", 6), (5463, "runs</w>", 3)]
    tokens += [(number, f"t{number}", 1) for number in range(500, 520)]
    vocabulary.write_text("id\ttoken\tcount\n" + "".join(f"{i}\t{t}\t{n}\n" for i, t, n in tokens))
    return TinyCorpus(
        data=data,
        utt2image=utt2image,
        speech_encoder=tiny_hubert_dir(root),
        clip_model=clip_model,
        clip_weights=tiny_clip_weights(root, clip_model),
        vocabulary=vocabulary,
    )


@pytest.fixture(scope="session")
def model_arguments(tiny_corpus: TinyCorpus) -> list[str]:
    """Options of a tiny hybrid+ model."""
    return [
        "--speech_encoder_conf",
        f"model={tiny_corpus.speech_encoder}",
        "--clip_conf",
        f"{{model: {tiny_corpus.clip_model}, pretrained: {tiny_corpus.clip_weights}}}",
        "--keyword_vocabulary",
        str(tiny_corpus.vocabulary),
        "--keyword_extractor_conf",
        "{frames_per_keyword: 4, scaling_steps: 3, dropout: 0.0}",
        "--attention_conf",
        "{num_heads: 2, dropout: 0.0}",
    ]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of both branches as ``save_speechclip`` writes it."""
    import torch

    from espnet_plugin.model.factory import build_speechclip
    from espnet_plugin.pretrained import save_speechclip
    from tests.tiny import tiny_hybrid_plus_config

    torch.manual_seed(1)
    config = tiny_hybrid_plus_config(tmp_path_factory.mktemp("teachers"))
    directory = tmp_path_factory.mktemp("exported") / "model"
    save_speechclip(build_speechclip(config).eval(), config, directory)
    return directory
