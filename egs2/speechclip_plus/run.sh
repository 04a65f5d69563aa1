#!/usr/bin/env bash
# SpeechCLIP+ from the corpus to its results. The stages are in speechclip.sh.
set -e
set -u
set -o pipefail

corpus=mini
seed=0

help_message=$(cat << 'EOF'
Usage: ./run.sh [--corpus mini|flickr8k|spokencoco] [--seed N] [options of speechclip.sh]

  --corpus mini        generated here, needs no network and no GPU; about ten minutes (default)
  --corpus flickr8k    Flickr8k with the Flickr Audio Caption Corpus; paths in db.sh
  --corpus spokencoco  SpokenCOCO with MSCOCO's pictures; paths in db.sh
  --seed N             seeds the mini corpus and the training (default 0)

Examples
  ./run.sh                                                      mini, hybrid+
  ./run.sh --speechclip_config conf/tuning/mini_parallel.yaml   another architecture
  ./run.sh --stage 7                                            go on at the training
  ./run.sh --corpus flickr8k --ngpu 2
EOF
)

# this script's own options; the rest goes to speechclip.sh as it is
arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --corpus) corpus=${2:?"--corpus needs a value"}; shift 2;;
        --seed) seed=${2:?"--seed needs a value"}; shift 2;;
        --help|-h) printf '%s\n\n' "${help_message}"; exec ./speechclip.sh --help;;
        *) arguments+=("$1"); shift;;
    esac
done

case "${corpus}" in
    mini)
        settings=(
            --speechclip_config conf/tuning/mini_hybrid_plus.yaml
            --speech_upstream downloads/mini/hubert
            --clip_model downloads/mini/clip/mini_clip.json
            --clip_pretrained downloads/mini/clip/mini_clip.safetensors
            --audio_format wav
            --dump_speech_states true
            --min_wav_duration 0.1
            --inference_nj 1
            --ngpu 0
        );;
    flickr8k|spokencoco)
        settings=(--speechclip_config conf/train.yaml);;
    *)
        echo "run.sh: error: --corpus ${corpus} is unknown; choose mini, flickr8k or spokencoco" >&2
        exit 2;;
esac

./speechclip.sh \
    --corpus "${corpus}" \
    --seed "${seed}" \
    --train_set "${corpus}_train" \
    --valid_set "${corpus}_dev" \
    --test_sets "${corpus}_test" \
    "${settings[@]}" \
    ${arguments[@]+"${arguments[@]}"}
