"""Train SpeechCLIP or SpeechCLIP+.

Example:
    python -m espnet_plugin.bin.speechclip_train --config conf/train.yaml \
        --train_data_path_and_name_and_type dump/raw/train/wav.scp,speech,sound \
        --train_data_path_and_name_and_type dump/raw/train/image_feat.scp,image,npy \
        --train_data_path_and_name_and_type dump/raw/train/utt2image_id,image_id,text_int \
        --train_shape_file dump/raw/train/utt2num_samples ... --output_dir exp/speechclip
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

# ESPnet's parser has some 200 options and takes ten seconds to build: these are the model's own.
HELP = """
The model:
  --speech_encoder {huggingface,s3prl}       --speech_encoder_conf model=facebook/hubert-base-ls960
  --layer_weighting_conf normalize=true      sum of the encoder's hidden states
  --clip_conf model=NAME                     open_clip name or JSON file; pretrained=TAG or file
  --attention {attention,transformer}        --attention_conf num_heads=8
  --model_conf parallel=true                 has the parallel branch; weights of the objectives
  --parallel_projection_conf hidden_dims=[]
  --keyword_extractor {none,cls,cif}         --keyword_extractor_conf frames_per_keyword=20
  --keyword_vocabulary FILE                  tokens.tsv: the sub-words that keywords are chosen from
  --keyword_projection_conf hidden_dims=[]
  --keyword_norm {batch,none}                --keyword_norm_conf scale=1.0
  --quantizer {straight_through}             --quantizer_conf temperature=0.1
  --loss {masked_contrastive}                --loss_conf

Batches:
  --sort_window N             batches that are drawn together and sorted by length; 1: shuffled
  --crop_seconds SECONDS      longer speech is cut to a random stretch
  --crop_frames N             the same for stored hidden states
  --normalize_before_crop BOOL     normalise whole waveforms before they are cut
  --use_preprocessor BOOL     check the speech

Most used of ESPnet's:
  --config FILE  --output_dir DIR  --ngpu N  --seed N  --max_epoch N  --batch_size N
  --num_workers N  --optim NAME  --optim_conf lr=0.0001  --scheduler NAME  --use_amp BOOL
  --accum_grad N  --resume BOOL  --init_param FILE  --best_model_criterion

  --print_config              all options, ESPnet's too, as a YAML file with their defaults
  --help_all                  all options, ESPnet's too, explained
"""


def get_parser() -> argparse.ArgumentParser:
    """The command line, as ESPnet's tasks have it."""
    return _task().get_parser()


def main(cmd: Sequence[str] | None = None) -> None:
    """Trains, or prints the configuration with ``--print_config``."""
    arguments = sys.argv[1:] if cmd is None else cmd
    if "-h" in arguments or "--help" in arguments:
        print((__doc__ or "").strip() + "\n" + HELP, end="")
        return
    if "--help_all" in arguments:
        get_parser().print_help()
        return
    _task().main(cmd=cmd)


def _task() -> type[SpeechCLIPTask]:
    from espnet_plugin.compat import imports_off_stdout

    with imports_off_stdout():
        from espnet_plugin.tasks.speechclip import SpeechCLIPTask
    return SpeechCLIPTask


if __name__ == "__main__":
    main()
