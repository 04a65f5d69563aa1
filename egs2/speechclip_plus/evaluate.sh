#!/usr/bin/env bash
# Evaluates a trained model on other data than it was trained for: ./evaluate.sh --model ... --data_dir ...
set -e
set -u
set -o pipefail

model=                 # experiment folder, packed model (zip), or exported model
data_dir=              # data to evaluate on: wav.scp, utt2image, image.scp, text, utt2spk; words.ctm if there is one
output_dir=            # where the results go; empty: evaluate_<data> in the experiment's folder
inference_model=valid.recall_mean_at_1.ave.pth  # checkpoint in the experiment's folder
inference_config=conf/decode.yaml
inference_args=        # further options of inference
transcripts=           # a speech recogniser's output, Kaldi text: a baseline in the tables
dumpdir=dump           # formatted data
fs=16k                 # sampling rate
audio_format=flac      # flac or wav
nj=                    # processes of data preparation; empty: one per processor
ngpu=0                 # 1: the frozen encoders and inference on a GPU
max_bad=0.1            # share of recordings or pictures that may be skipped as broken
python=python3         # Python that runs everything

help_message=$(cat << 'EOT'
Usage: ./evaluate.sh --model exp/speechclip_x --data_dir data/other_test [options]

Formats the recordings, embeds the pictures with the model's own CLIP, runs inference and writes
report.html, RESULTS.md and scores.json. Nothing is trained and nothing of the model changes: its
keyword vocabulary stays that of its training. The data directory is as README.md says.

  --model            experiment folder, packed model (zip), or exported model
  --data_dir         wav.scp, utt2image, image.scp, and text and words.ctm where known
  --output_dir       where the results go (default: evaluate_<data> in the experiment's folder, or in exp/)
  --inference_model  checkpoint in the experiment's folder (default: valid.recall_mean_at_1.ave.pth)
  --inference_config, --inference_args  options of inference
  --transcripts      a speech recogniser's output (Kaldi text), a baseline in the tables
  --dumpdir          formatted data (default: dump)
  --fs, --audio_format, --nj, --ngpu, --max_bad, --python  as for run.sh
EOT
)

. utils/parse_options.sh
[ $# -eq 0 ] || { echo "evaluate.sh: error: no positional arguments are taken: $*" >&2; exit 2; }
. ./path.sh

fail() {
    echo "evaluate.sh: error: $*" >&2
    exit 1
}
# Whether there is such a model: formatting the data takes long, and it comes first.
check_model() {
    local kinds="an experiment's or exported model's folder, a packed model (zip) or a checkpoint (pth)"
    if [ -d "${model}" ]; then
        [ -e "${model}/config.yaml" ] || fail "--model ${model}: no config.yaml in it; a model is ${kinds}"
        if compgen -G "${model}/*.pth" > /dev/null; then
            fail "${model}/${inference_model} is missing; --inference_model takes one of $(cd "${model}" && echo *.pth)"
        fi
    elif [ -e "${model}" ]; then
        [[ ${model} = *.zip || ${model} = *.pth ]] || fail "--model ${model}: no model; a model is ${kinds}"
    elif ! [[ ${model} =~ ^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$ ]] || [ -e "${model%%/*}" ]; then
        # owner/model is a repository on the hub, if there is no folder "owner" here
        fail "--model ${model}: no such file or folder; a model is ${kinds}"
    fi
}
[ -n "${model}" ] && [ -n "${data_dir}" ] || { echo "evaluate.sh: error: --model and --data_dir are required; see ./evaluate.sh --help" >&2; exit 2; }
data_dir=${data_dir%/}
model=${model%/}
for name in wav.scp utt2image image.scp; do
    [ -s "${data_dir}/${name}" ] || fail "${data_dir}/${name} is missing; README.md says what a data directory holds"
done
nj=${nj:-$(env -u OMP_NUM_THREADS nproc 2> /dev/null || echo 1)}

set_name=$(basename "${data_dir}")
model_name=$(basename "${model}" .zip)
experiment=
if [ -e "${model}/config.yaml" ] && [ -e "${model}/${inference_model}" ]; then
    experiment=${model}
    model_args=(--speechclip_train_config "${model}/config.yaml" --speechclip_model_file "${model}/${inference_model}")
else
    check_model
    model_args=(--model_tag "${model}")
fi
if [ -z "${output_dir}" ]; then
    if [ -n "${experiment}" ]; then output_dir=${experiment}/evaluate_${set_name}; else output_dir=exp/evaluate_${model_name//\//_}_${set_name}; fi
fi
org=${dumpdir}/evaluate/org/${set_name}
dump=${dumpdir}/evaluate/${set_name}
clip_dir=${dumpdir}/evaluate/clip_${model_name//\//_}/${set_name}
out=${output_dir}/${set_name}

echo "evaluate.sh: recordings and pictures -> ${dump}" >&2
${python} -m espnet_plugin.bin.datadir copy --input_dir "${data_dir}" --output_dir "${org}"
${python} -m espnet_plugin.bin.format_wav_scp --wav_scp "${data_dir}/wav.scp" --output_dir "${org}" \
    --fs "${fs}" --audio_format "${audio_format}" --nj "${nj}" --max_bad "${max_bad}"
cp "${data_dir}/image.scp" "${org}/image.scp"
${python} -m espnet_plugin.bin.datadir check_images --dir "${org}" --nj "${nj}" --max_bad "${max_bad}"
${python} -m espnet_plugin.bin.datadir filter --input_dir "${org}" --output_dir "${dump}" --fs "${fs}"
${python} -m espnet_plugin.bin.datadir fix --dir "${dump}"
captions=()
if [ -e "${dump}/text" ]; then captions=(--text "${dump}/text"); fi

echo "evaluate.sh: image embeddings -> ${clip_dir}" >&2
${python} -m espnet_plugin.bin.dump_image_embeddings --image_scp "${dump}/image.scp" \
    --output_dir "${clip_dir}" --model_tag "${model}" --ngpu "${ngpu}"

echo "evaluate.sh: inference -> ${out}" >&2
# shellcheck disable=SC2086
${python} -m espnet_plugin.bin.speechclip_inference --config "${inference_config}" --ngpu "${ngpu}" \
    --key_file "${dump}/wav.scp" --data_path_and_name_and_type "${dump}/wav.scp,speech,sound" \
    ${captions[@]+"${captions[@]}"} --utt2image "${dump}/utt2image" \
    --image_scp "${clip_dir}/image_embedding.scp" --shape_file "${dump}/utt2num_samples" \
    "${model_args[@]}" --output_dir "${out}" ${inference_args}

echo "evaluate.sh: scores -> ${output_dir}" >&2
if [ -n "${transcripts}" ]; then
    ${python} -m espnet_plugin.bin.embed_transcripts --transcripts "${transcripts}" \
        --inference_dir "${out}" ${captions[@]+"${captions[@]}"} --model_tag "${model}"
fi
${python} -m espnet_plugin.bin.score_retrieval --inference_dir "${out}" > /dev/null
if [ -e "${out}/keywords.jsonl" ] && [ -e "${dump}/text" ]; then
    options=()
    if [ -e "${dump}/words.ctm" ]; then options=(--words_ctm "${dump}/words.ctm"); fi
    ${python} -m espnet_plugin.bin.score_keywords --inference_dir "${out}" ${options[@]+"${options[@]}"}
fi
# the report tells the model's configuration, which a packed model has inside
if [ -z "${experiment}" ]; then
    experiment=${output_dir}
    if [ -e "${model}/config.yaml" ]; then experiment=${model}; fi
fi
if [[ ${model} == *.zip ]]; then
    ${python} -c 'import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as packed:
    names = [name for name in packed.namelist() if name.endswith("config.yaml")]
    if names:
        open(sys.argv[2], "wb").write(packed.read(min(names, key=len)))' "${model}" "${output_dir}/config.yaml"
fi
${python} -m espnet_plugin.bin.show_results --expdir "${experiment}" --inference_dir "${output_dir}" \
    --test_set "${set_name}" --data_dir "${dump}"
echo "evaluate.sh: results: ${output_dir}/{report.html,RESULTS.md,scores.json}" >&2
