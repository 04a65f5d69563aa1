#!/usr/bin/env bash
# Sourced by speechclip.sh: its options, what is refused before anything starts, and the names and
# numbers that follow from the options.
# shellcheck disable=SC2034  # the stages read most of what is set here

# General
stage=1                # first stage to run
stop_stage=10000       # last stage to run
skip_stages=           # stages to leave out, separated by commas or spaces, e.g. 4,5
skip_data_prep=false   # leave out stages 1 to 5
skip_train=false       # leave out stages 6 and 7
skip_eval=false        # leave out stages 8 and 9
skip_packing=false     # leave out stage 10
skip_upload_hf=true    # leave out stage 11
eval_valid_set=true    # run stages 8 and 9 on the validation set too: it selects the branch that ranks
ngpu=                  # GPUs per node; empty: 1 if there is one, else 0
num_nodes=1            # nodes to train on
nj=                    # parallel jobs of data preparation; empty: one per processor
inference_nj=          # parallel jobs of the frozen encoders and of inference; empty: one per two processors
gpu_inference=false    # run the frozen encoders and inference on GPUs
num_threads=           # threads of training without a GPU, and at most of a job; empty: all processors
dumpdir=dump           # formatted data
expdir=exp             # experiments
python=python3         # Python that runs everything
seed=0                 # seed of the training

# Data
corpus=                # handed to local/data.sh; mini_seed3 is mini of seed 3
datadir=data           # folder of the sets that stage 1 makes
local_data_opts=       # more options of local/data.sh, separated by spaces
train_set=             # training set, a folder in data/ (required)
valid_set=             # validation set (required)
test_sets=             # test sets, separated by spaces (required)
fs=16k                 # sampling rate
audio_format=flac      # flac or wav
min_wav_duration=0.1   # seconds; shorter training utterances are removed
max_wav_duration=30    # seconds; longer training utterances are removed
max_bad=0.1            # share of a set's utterances that may be skipped as broken

# Frozen models (empty: what the configuration says)
speech_upstream=       # Hugging Face name (owner/name) or folder, whisper:NAME, w2v_bert:NAME, s3prl name, or s3prl:NAME:CHECKPOINT
clip_model=            # open_clip name or JSON file
clip_pretrained=       # open_clip tag, weights file, or random
vocab_from=train       # captions that give the keyword vocabulary: train, all, or clip (its whole table)
vocab_text=            # English text that gives it instead: sentences, word<tab>count lines, or general (a list of wordfreq's)
dump_speech_states=false  # store the frozen speech encoder's hidden states once, train on them
states_dtype=float16   # how they are stored: float16, or int8 in half the space

# Training
speechclip_tag=        # name of the experiment; empty: made from configuration, corpus and options
speechclip_exp=        # folder of the experiment; empty: <expdir>/speechclip_<tag>
speechclip_config=     # training configuration (required)
speechclip_args=       # more options of training, e.g. "--max_epoch 10"
pretrained_model=      # checkpoint to start from, as update 0
ignore_init_mismatch=false  # parameters of another shape are left as they are

# Inference
model=                 # evaluate this model instead of training one, see ./evaluate.sh: a model's folder, a checkpoint, or a name
inference_config=conf/decode.yaml  # options of inference
inference_args=        # more options of inference
inference_tag=         # empty: made from the configuration, the model and the options
inference_model=       # checkpoint in the experiment's folder; empty: the best by the configuration's best_model_criterion
trust_remote_code=false  # you trust the maker of the model: it may run code that comes with it

# Scoring
report=true            # write report.html and figures beside RESULTS.md

# Publishing
hf_repo=               # user/name of a repository on Hugging Face

help_message=$(cat << 'EOF'
Usage: ./speechclip.sh --train_set <set> --valid_set <set> --test_sets "<set> ..." --speechclip_config <yaml>

Stages: 1 data preparation, 2 format recordings, 3 check and filter, 4 image embeddings,
5 keyword vocabulary, 6 shape files and hidden states, 7 training, 8 inference, 9 scoring,
10 packing, 11 upload.
EOF
scripts/utils/print_options.sh "${BASH_SOURCE[0]}")

printf -v run_args '%q ' "$0" "$@"  # can be pasted into a shell
. utils/parse_options.sh
log "${SPEECHCLIP_CALL:-${run_args}}"  # as it was typed; run.sh beside the model has every option
[ $# -eq 0 ] || { log "Error: no positional arguments are taken: $*" >&2; exit 2; }

. ./path.sh
# shellcheck source=../../cmd.sh
. ./cmd.sh

# --- what was asked for, checked before anything starts ---
required="train_set valid_set test_sets speechclip_config"
if [ -n "${model}" ]; then
    required="test_sets speechclip_exp"
    train_set=""
    valid_set=""
    speechclip_config=""
    eval_valid_set=false
    skip_stages+=" 1 5 6 7 10 11"
fi
for name in ${required}; do
    [ -n "${!name}" ] || { log "Error: --${name} is required; see ./run.sh --help" >&2; exit 2; }
done
for name in stage stop_stage num_nodes seed; do
    [[ ${!name} =~ ^[0-9]+$ ]] || fail "--${name} takes a whole number, not '${!name}'"
done
for name in ngpu nj inference_nj num_threads; do
    [[ ${!name} =~ ^[0-9]*$ ]] || fail "--${name} takes a whole number, not '${!name}'"
done
case "${vocab_from}" in train|all|clip) ;; *) fail "--vocab_from takes train, all or clip, not '${vocab_from}'";; esac
case "${vocab_text}" in
    "") ;;
    general) vocab_from=general;;
    *)
        [ -s "${vocab_text}" ] || fail "--vocab_text ${vocab_text}: no such file, or empty. Give English sentences, one a line, word<tab>count lines, or the word general"
        vocab_from=text;;
esac

# --- what was left open ---
# nproc would report OMP_NUM_THREADS, which path.sh sets
processors=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2> /dev/null || echo 1)
nj=${nj:-${processors}}
inference_nj=${inference_nj:-$(( processors > 2 ? processors / 2 : 1 ))}
if [ -z "${ngpu}" ]; then
    if nvidia-smi -L 2> /dev/null | grep -q GPU; then ngpu=1; else ngpu=0; fi
    log "--ngpu ${ngpu}, as found on this machine"
fi
# of each of the jobs that share the machine in stages 4, 6 and 8
job_threads=$(( inference_nj > 0 && processors > inference_nj ? processors / inference_nj : 1 ))
if [ "${num_threads:-${job_threads}}" -lt "${job_threads}" ]; then job_threads=${num_threads}; fi
if [ "${ngpu}" -eq 0 ]; then num_threads=${num_threads:-${processors}}; else num_threads=${num_threads:-1}; fi

skip_stages=${skip_stages//,/ }
for number in ${skip_stages}; do
    [[ ${number} =~ ^([1-9]|1[01])$ ]] \
        || fail "--skip_stages takes stages from 1 to 11, separated by commas or spaces, not '${number}'"
done
if "${skip_data_prep}"; then skip_stages+=" 1 2 3 4 5"; fi
if "${skip_train}"; then skip_stages+=" 6 7"; fi
if "${skip_eval}"; then skip_stages+=" 8 9"; fi
if "${skip_packing}"; then skip_stages+=" 10"; fi
if "${skip_upload_hf}"; then skip_stages+=" 11"; fi
runs_stage() {
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ] && ! [[ " ${skip_stages} " =~ [[:space:]]$1[[:space:]] ]]
}
chosen=()
for number in 1 2 3 4 5 6 7 8 9 10 11; do
    if runs_stage "${number}"; then chosen+=("${number}"); fi
done
not_uploaded=
if "${skip_upload_hf}" && { [ -n "${hf_repo}" ] || [ "${stage}" -eq 11 ] || [ "${stop_stage}" -eq 11 ]; }; then
    not_uploaded="; nothing is uploaded without --skip_upload_hf false --hf_repo user/name"
fi
[ ${#chosen[@]} -gt 0 ] || fail "no stage is left to run from ${stage} to ${stop_stage}${not_uploaded}"
log "Stages: ${chosen[*]}"
if runs_stage 11; then
    [ -n "${hf_repo}" ] || fail "--hf_repo is needed: user/name of the repository"
fi

# how the frozen encoders and inference run
frozen_ngpu=0
if "${gpu_inference}"; then frozen_ngpu=1; fi
read -ra frozen_cmd <<< "${decode_cmd} --gpu ${frozen_ngpu}"

# a scheduler's nodes have GPUs of their own
wanted_ngpu=0
if runs_stage 7 && [ "${cuda_cmd}" = run.pl ]; then wanted_ngpu=${ngpu}; fi
if runs_stage 4 || runs_stage 6 || runs_stage 8; then
    if [ "${decode_cmd}" = run.pl ] && [ "${frozen_ngpu}" -gt "${wanted_ngpu}" ]; then wanted_ngpu=${frozen_ngpu}; fi
fi

# --- one question to Python: are the options right, and what follows from them? ---
asked=(--config "${speechclip_config}" --speech_upstream "${speech_upstream}" --model "${model}" --wanted_gpus "${wanted_ngpu}")
asked+=(--clip_model "${clip_model}" --clip_pretrained "${clip_pretrained}" --stages "${chosen[@]}")
if [ "${vocab_from}" = clip ]; then asked+=(--no_captions); fi
if "${trust_remote_code}"; then asked+=(--trust_remote_code); fi
# shellcheck disable=SC2086
answers=$(${python} -m espnet_plugin.bin.recipe options "${asked[@]}" -- ${speechclip_args}) || {
    if ${python} -c 'import espnet_plugin' 2> /dev/null; then exit 1; fi
    fail "the Python environment is not complete. Make it with 'make env' in the project's root, or choose another with --python"
}
# of these, clip_model and clip_pretrained may be the user's, and model's name becomes its place
speech_encoder='' upstream_name='' upstream_checkpoint='' normalize_waveform='' best_model=''
while IFS='=' read -r name value; do printf -v "${name}" '%s' "${value}"; done <<< "${answers}"
encoder_args=(--speech_encoder "${speech_encoder}" --speech_encoder_conf "model=${upstream_name}")
if [ -n "${upstream_checkpoint}" ]; then encoder_args+=(--speech_encoder_conf "checkpoint=${upstream_checkpoint}"); fi

# --- what the files are called ---
file_tag() { local name=${1##*/}; name=${name%.json}; echo "${name//[^A-Za-z0-9._-]/_}"; }
clip_tag=$(file_tag "${clip_model}")
if [[ ${clip_model} != *.json ]]; then
    clip_tag+=_$(file_tag "${clip_pretrained}")
fi
upstream_tag=$(file_tag "${upstream_name}${upstream_checkpoint:+_${upstream_checkpoint##*/}}")

# what is generated has a seed, which the corpus's name ends with if it is not 0
made=${corpus} corpus_seed=${seed}
if [[ ${corpus} =~ ^(mini|mini_babel|digits|.+_espeak)(_seed([0-9]+))?$ ]]; then
    made=${BASH_REMATCH[1]} corpus_seed=${BASH_REMATCH[3]:-0}
fi
if [ -z "${speechclip_tag}" ]; then
    speechclip_tag=$(basename "${speechclip_config}" .yaml)
    # a configuration that does not name its corpus
    if [[ ${speechclip_tag} != "${made}"* ]]; then speechclip_tag=${made:+${made}_}${speechclip_tag}; fi
    if [ -n "${speechclip_args}" ]; then
        speechclip_tag+=$(echo "${speechclip_args}" | sed -e 's/--/_/g' -e 's/[^A-Za-z0-9._-]//g')
    fi
    if [ -n "${vocab_text}" ]; then speechclip_tag+=_words_${vocab_text//[^A-Za-z0-9._-]/_}; fi
    if [ "${seed}" != "${corpus_seed}" ]; then
        speechclip_tag+=_corpus${corpus_seed}_seed${seed}
    elif [ "${seed}" != 0 ]; then
        speechclip_tag+=_seed${seed}
    fi
fi
speechclip_exp=${speechclip_exp:-${expdir}/speechclip_${speechclip_tag}}
speechclip_exp=${speechclip_exp%/}
inference_model=${inference_model:-${best_model}}
if [ -z "${inference_tag}" ]; then
    inference_tag=$(basename "${inference_config}" .yaml)_${inference_model%.pth}
    if [ -n "${inference_args}" ]; then
        inference_tag+=$(echo "${inference_args}" | sed -e 's/--/_/g' -e 's/[^A-Za-z0-9._-]//g')
    fi
fi
inference_dir=${speechclip_exp}/inference_${inference_tag}

data_feats=${dumpdir}/raw
clip_dir=${dumpdir}/clip_${clip_tag}
# a folder per corpus: another corpus's images would replace these
case "${corpus}" in ""|mini) ;; *) clip_dir+=_${corpus};; esac
# whose CLIP embeds images, what infers, and whose configuration the results name
teacher=("${clip_model}" "${clip_pretrained}")
clip_args=(--clip_model "${clip_model}" --clip_pretrained "${clip_pretrained}")
inferring=(--speechclip_model_file "${speechclip_exp}/${inference_model}")
experiment=${speechclip_exp}
if [ -n "${model}" ]; then
    teacher=("${model}")
    clip_args=(--model_tag "${model}")
    if "${trust_remote_code}"; then clip_args+=(--trust_remote_code); fi
    inferring=("${clip_args[@]}")
    inference_dir=${speechclip_exp}
    clip_dir=${dumpdir}/clip_${speechclip_exp//[^A-Za-z0-9._-]/_}
    case "${model}" in
        *.pth) experiment=${model%/*};;
        *) if [ -e "${model}/config.yaml" ]; then experiment=${model}; fi;;
    esac
fi
# the states of several configurations may be kept; training compares what they were made from
states_dir=${dumpdir}/states_${upstream_tag}${normalize_waveform:+_normalize_${normalize_waveform}}
token_list=${datadir}/token_list/clip_${clip_tag}/${vocab_from}_${train_set}.tsv
if [ -n "${vocab_text}" ]; then token_list=${token_list%/*}/words_${vocab_text//[^A-Za-z0-9._-]/_}${corpus#"${made}"}.tsv; fi
stats_dir=${expdir}/speechclip_stats_raw_${train_set}

# each set once, in the order of the stages
all_sets=()
for name in ${train_set} ${valid_set} ${test_sets}; do
    [[ " ${all_sets[*]-} " == *" ${name} "* ]] || all_sets+=("${name}")
done
eval_sets=()
if "${eval_valid_set}"; then eval_sets+=("${valid_set}"); fi
for name in ${test_sets}; do
    [[ " ${eval_sets[*]-} " == *" ${name} "* ]] || eval_sets+=("${name}")
done
