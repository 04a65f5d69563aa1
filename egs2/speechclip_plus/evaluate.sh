#!/usr/bin/env bash
# Evaluates a trained model on other data than it was trained for: ./evaluate.sh --model ... --data_dir ...
set -e
set -u
set -o pipefail

# shellcheck source=scripts/utils/supervise.sh
. scripts/utils/supervise.sh

# Options
model=                 # a model's folder, an experiment, a checkpoint, or a name (required)
data_dir=              # data to evaluate on: wav.scp, utt2image, image.scp, utt2spk, and text and words.ctm where known (required)
output_dir=            # where the results go; empty: evaluate_<data> in the experiment's folder, or in exp/
inference_model=       # checkpoint in the experiment's folder; empty: the best by its best_model_criterion
inference_config=conf/decode.yaml  # options of inference
inference_args=        # more options of inference
trust_remote_code=false  # you trust the maker of the model: it may run code that comes with it
dumpdir=dump           # formatted data
fs=16k                 # sampling rate
audio_format=flac      # flac or wav
nj=                    # processes of data preparation; empty: one per processor
ngpu=0                 # 1: the frozen encoders and inference on a GPU
max_bad=0.1            # share of the utterances that may be skipped as broken
python=python3         # Python that runs everything

help_message=$(cat << 'EOT'
Usage: ./evaluate.sh --model exp/speechclip_x --data_dir data/other_test [options]

Formats the recordings, embeds the images with the model's own CLIP, runs inference and writes
report.html, RESULTS.md and scores.json. Nothing is trained and nothing of the model changes: its
keyword vocabulary stays that of its training. The data directory is as README.md says. A model's
name is that of a released one (docs/models.md) or of one on the Hugging Face hub, owner/model.
EOT
scripts/utils/print_options.sh "$0")

. utils/parse_options.sh
[ $# -eq 0 ] || { echo "evaluate.sh: error: no positional arguments are taken: $*" >&2; exit 2; }
. ./path.sh

fail() {
    echo "evaluate.sh: error: $*" >&2
    exit 1
}
[ -n "${model}" ] && [ -n "${data_dir}" ] || { echo "evaluate.sh: error: --model and --data_dir are required; see ./evaluate.sh --help" >&2; exit 2; }
data_dir=${data_dir%/}
model=${model%/}
for name in wav.scp utt2image image.scp utt2spk; do
    [ -s "${data_dir}/${name}" ] || fail "${data_dir}/${name} is missing; README.md says what a data directory holds"
done
# before the data, whose formatting takes long
found=$(${python} -m espnet_plugin.bin.recipe model "${model}${inference_model:+/${inference_model}}")

set_name=$(basename "${data_dir}")
if [ -z "${output_dir}" ]; then
    output_dir=exp/evaluate_$(basename "${model%/model}")_${set_name}  # stage 10 calls all of them model
    if [ -d "${model}" ] && [ -f "${found}" ]; then output_dir=${model}/evaluate_${set_name}; fi
fi
# two models or data folders may have one base name
what=${model}
if [ -e "${model}" ]; then what=$(realpath --no-symlinks --relative-to . "${found}"); fi
what+=" on $(realpath --no-symlinks --relative-to . "${data_dir}")"
mkdir -p "${output_dir}"
kept=${output_dir}/evaluated.txt
if [ -s "${kept}" ] && [ "$(< "${kept}")" != "${what}" ]; then
    fail "${output_dir} has the results of $(< "${kept}"); name another folder with --output_dir for those of ${what}"
fi
echo "${what}" > "${kept}"
gpu_inference=false
if [ "${ngpu}" -gt 0 ]; then gpu_inference=true; fi
./speechclip.sh --model "${found}" --speechclip_exp "${output_dir}" --dumpdir "${dumpdir}/evaluate" \
    --datadir "$(dirname "${data_dir}")" --test_sets "${set_name}" \
    --fs "${fs}" --audio_format "${audio_format}" --max_bad "${max_bad}" --nj "${nj}" \
    --trust_remote_code "${trust_remote_code}" \
    --ngpu "${ngpu}" --gpu_inference "${gpu_inference}" --inference_nj 1 --python "${python}" \
    --inference_config "${inference_config}" --inference_args "${inference_args}"
echo "evaluate.sh: results: ${output_dir}/{report.html,RESULTS.md,scores.json}" >&2
