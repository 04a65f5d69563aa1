#!/usr/bin/env bash
# SpeechCLIP+ from the corpus to its results. The stages are in speechclip.sh.
set -e
set -u
set -o pipefail

# shellcheck source=scripts/utils/supervise.sh
. scripts/utils/supervise.sh

corpus=mini
seed=0
corpus_seed=
download=false
speak=false
custom_root=
local_data_opts=

help_message=$(cat << 'EOF'
Usage: ./run.sh [--corpus mini|mini_babel|digits|flickr8k|spokencoco|custom] [--seed N] [options of speechclip.sh]

  --corpus mini        generated here, needs no network and no GPU; about ten minutes (default)
  --corpus mini_babel  the images of mini, described in English, Spanish and Swahili
  --corpus digits      recordings of people who say digits, handwritten digits; fetched by --download true
  --corpus flickr8k    Flickr8k with the Flickr Audio Caption Corpus; paths in db.sh
  --corpus spokencoco  SpokenCOCO with the images of MSCOCO; paths in db.sh
  --corpus custom      a folder of your own, named by --custom_root; README.md says what is in it
  --download true      fetch digits, flickr8k or spokencoco first (default false)
  --speak true         synthetic voices say the captions of flickr8k, spokencoco or a table of your own that nobody has
                       read aloud; the sets are <corpus>_espeak_train ... (default false)
  --custom_root DIR    folder of your own corpus
  --seed N             seeds the training and what is generated: mini, digits, synthetic voices (default 0)
  --corpus_seed N      seeds the corpus alone; with N above 0 its sets are <corpus>_seedN_train ... (default: --seed)

Examples
  ./run.sh                                                      mini, hybrid+
  ./run.sh --speechclip_config conf/tuning/mini_parallel.yaml   another architecture
  ./run.sh --stage 7                                            continue with the training
  ./run.sh --corpus digits --download true
  ./run.sh --corpus flickr8k --ngpu 2
  ./run.sh --corpus flickr8k --download true
  ./run.sh --corpus flickr8k --download true --speak true
  ./run.sh --corpus spokencoco --speechclip_config conf/tuning/spokencoco_large_cascaded_plus.yaml
  ./run.sh --corpus custom --custom_root my_corpus --speechclip_config conf/tuning/small_hybrid_plus_annealed.yaml
  ./run.sh --corpus custom --custom_root named_files --local_data_opts "--language sw"
  ./run.sh --corpus custom --custom_root my_corpus --speechclip_config conf/tuning/mhubert_hybrid_plus_annealed.yaml --vocab_text general
  ./run.sh --corpus custom --custom_root folder_of_parquet_files --local_data_opts "--caption_column sentence"
EOF
)

# what the last lines of the output make the next call from
printf -v SPEECHCLIP_CALL '%q ' "$0" "$@"
export SPEECHCLIP_CALL

# this script's own options; the rest goes to speechclip.sh as it is
arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --corpus) corpus=${2:?"--corpus needs a value"}; shift 2;;
        --download) download=${2:?"--download needs a value"}; shift 2;;
        --speak) speak=${2:?"--speak needs a value"}; shift 2;;
        --custom_root|--custom-root) custom_root=${2:?"--custom_root needs a value"}; shift 2;;
        --local_data_opts|--local-data-opts) local_data_opts=${2?"--local_data_opts needs a value"}; shift 2;;
        --schedule_from_corpus|--schedule-from-corpus)
            echo "run.sh: error: $1 is gone: num_iters_per_epoch of the configuration says how long an epoch is" >&2
            exit 2;;
        --seed) seed=${2:?"--seed needs a value"}; shift 2;;
        --corpus_seed|--corpus-seed) corpus_seed=${2:?"--corpus_seed needs a value"}; shift 2;;
        --help|-h) printf '%s\n\n' "${help_message}"; exec ./speechclip.sh --help;;
        *) arguments+=("$1"); shift;;
    esac
done

case "${speak}" in true|false) ;; *) echo "run.sh: error: --speak takes true or false, not '${speak}'" >&2; exit 2;; esac

# Gives each seed of what is generated folders of its own
add_seed() {
    made=${corpus}
    corpus_seed=${corpus_seed:-${seed}}
    [[ ${corpus_seed} =~ ^[0-9]+$ ]] || { echo "run.sh: error: --seed and --corpus_seed take whole numbers, not '${corpus_seed}'" >&2; exit 2; }
    corpus+=$1
    if [ "${corpus_seed}" != 0 ]; then corpus+=_seed${corpus_seed}; fi
}
case "${corpus}" in
    mini|mini_babel|digits)
        if "${speak}"; then
            echo "run.sh: error: --speak true is for captions without recordings, of flickr8k, spokencoco or custom; ${corpus} has recordings" >&2
            exit 2
        fi
        add_seed ""
        settings=(
            --speechclip_config conf/tuning/mini_hybrid_plus.yaml
            --speech_upstream "downloads/${corpus}/hubert"
            --clip_model "downloads/${corpus}/clip/mini_clip.json"
            --clip_pretrained "downloads/${corpus}/clip/mini_clip.safetensors"
            --audio_format wav
            --dump_speech_states true
            --min_wav_duration 0.1
            --inference_nj 2
            --num_threads 1
            --ngpu 0
        )
        if [ "${made}" = mini_babel ]; then
            settings+=(--speechclip_config conf/tuning/mini_babel_hybrid_plus.yaml)
        elif [ "${made}" = digits ]; then
            settings+=(
                --speechclip_config conf/tuning/digits_hybrid_plus.yaml
                --speech_upstream whisper:models/digits/speech_encoder
                --test_sets "${corpus}_test ${corpus}_strangers ${corpus}_five"
                --num_threads 2
            )
        fi;;
    flickr8k)
        settings=(
            --speechclip_config conf/tuning/flickr8k_base_hybrid_plus.yaml
            --min_wav_duration 0.5
            --states_dtype int8
        );;
    spokencoco)
        settings=(
            --speechclip_config conf/tuning/spokencoco_large_hybrid_plus.yaml
            --min_wav_duration 0.5
            --states_dtype int8
        );;
    custom)
        if [ -z "${custom_root}" ]; then
            echo "run.sh: error: --corpus custom needs --custom_root DIR; README.md says what is in it" >&2
            exit 2
        fi
        # the sets have the folder's name, so that another corpus does not take their place
        if [ -d "${custom_root}" ]; then custom_root=$(cd -- "${custom_root}" && pwd -P); fi
        export CUSTOM_ROOT=${custom_root}
        corpus=${custom_root%/}
        corpus=custom_${corpus##*/}
        corpus=${corpus//[^A-Za-z0-9._-]/_}
        settings=(--speechclip_config conf/train.yaml)
        # without captions the keyword vocabulary is all of CLIP's
        if ! [[ ${local_data_opts} = *--caption_column* ]] && ! awk -F '\t' '
            NR == 1 {for (i = 1; i <= NF; i++) if (tolower($i) ~ /^[^a-z]*caption[^a-z]*$/) column = i}
            NR > 1 && column && $column ~ /[^ \r]/ {found = 1; exit}
            END {exit !found}' "${custom_root}"/*.tsv 2> /dev/null; then
            settings+=(--vocab_from clip)
        fi;;
    *)
        echo "run.sh: error: --corpus ${corpus} is unknown; choose mini, mini_babel, digits, flickr8k, spokencoco or custom" >&2
        exit 2;;
esac

if "${speak}"; then
    add_seed _espeak
    local_data_opts="--speak true ${local_data_opts}"
fi
if [ "${corpus_seed:-0}" != 0 ] && [ -z "${made:-}" ]; then
    echo "run.sh: error: --corpus_seed makes another corpus of mini, mini_babel or digits, or other synthetic voices; ${corpus} has no seed" >&2
    exit 2
fi

case "${download}" in
    true)
        case "${made:-${corpus}}" in
            digits|flickr8k|spokencoco) ;;
            *) echo "run.sh: error: --download true fetches digits, flickr8k or spokencoco only; db.sh says where ${corpus} lies, and mini is generated" >&2; exit 2;;
        esac
        local_data_opts="--download true ${local_data_opts}";;
    false) ;;
    *) echo "run.sh: error: --download takes true or false, not '${download}'" >&2; exit 2;;
esac

exec ./speechclip.sh \
    --corpus "${corpus}" \
    --seed "${seed}" \
    --local_data_opts "${local_data_opts}" \
    --train_set "${corpus}_train" \
    --valid_set "${corpus}_dev" \
    --test_sets "${corpus}_test" \
    "${settings[@]}" \
    ${arguments[@]+"${arguments[@]}"}
