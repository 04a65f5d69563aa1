#!/usr/bin/env bash
# All stages of SpeechCLIP(+), whatever the corpus. ./run.sh calls this with a corpus's settings.
set -e
set -u
set -o pipefail

# shellcheck source=scripts/utils/supervise.sh
. scripts/utils/supervise.sh

log() {
    local fname=${BASH_SOURCE[1]##*/}
    echo -e "$(date '+%Y-%m-%dT%H:%M:%S') (${fname}:${BASH_LINENO[0]}:${FUNCNAME[1]}) $*"
}
fail() {
    log "Error: $*" >&2
    exit 1
}
SECONDS=0

# General
stage=1                # first stage to run
stop_stage=10000       # last stage to run
skip_stages=           # stages to leave out, separated by commas or spaces, e.g. 4,5
skip_data_prep=false   # leave out stages 1 to 5
skip_train=false       # leave out stages 6 and 7
skip_eval=false        # leave out stages 8 and 9
skip_packing=false     # leave out stage 10
skip_upload_hf=true    # leave out stage 11
eval_valid_set=true    # run stages 8 and 9 on the validation set too: it chooses the branch that ranks
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
max_bad=0.1            # share of recordings or images that may be skipped as broken

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
scripts/utils/print_options.sh "$0")

printf -v run_args '%q ' "$0" "$@"  # can be pasted into a shell
. utils/parse_options.sh
log "${SPEECHCLIP_CALL:-${run_args}}"  # as it was typed; run.sh beside the model has every option
[ $# -eq 0 ] || { log "Error: no positional arguments are taken: $*" >&2; exit 2; }

. ./path.sh
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

# a generated corpus has a seed, which its name ends with if it is not 0
made=${corpus} corpus_seed=${seed}
if [[ ${corpus} =~ ^(mini|mini_words|mini_babel|digits)(_seed([0-9]+))?$ ]]; then
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

# --- helpers ---
follower=
unfollow() {
    [ -n "${follower}" ] || return 0
    kill "${follower}" 2> /dev/null || true
    wait "${follower}" 2> /dev/null || true
    follower=
}
# Shows the lines of a job's log that tell its progress while the next commands run.
follow() {
    tail -n 0 --pid=$$ -F "$1" > >(sed -u -nE \
        -e 's|.*INFO: ([0-9]+/[0-9]+epoch started.*)|  \1|p' \
        -e 's|.*INFO: ([0-9]+epoch results:).*\[valid\].*\b(recall_mean_at_1=[0-9.]+).*|  \1 \2|p' \
        -e 's|.*(update left out, [0-9]+ in this epoch).*|  \1|p' \
        -e 's|.*INFO: (.* need .* more; .* free in .*)|  \1|p' \
        -e 's|.*INFO: (.*: [0-9,]+(/[0-9,]+)? [^ ]+ after [0-9].*)|  \1|p' >&2) 2> /dev/null &
    follower=$!
}

# The call that trained a model is stored with it; a start that trained nothing does not change it.
keep_call() {
    local call=${speechclip_exp}/.run.sh
    if [ -e "${call}" ] && [ "${speechclip_exp}/checkpoint.pth" -nt "${call}" ]; then
        mv "${call}" "${speechclip_exp}/run.sh"
    fi
}
# Says so when a stage failed because a disk is full: what failed first may have said anything.
explain_full_disk() {
    local folder
    for folder in "${datadir}" "${dumpdir}" "${expdir}" "${TMPDIR:-/tmp}"; do
        if [ -d "${folder}" ] && [ "$(df -Pk "${folder}" | awk 'NR == 2 {print $4}')" -lt 1024 ]; then
            log "Error: the disk of ${folder} is full; free some space and start again, what is finished is kept" >&2
            return 0
        fi
    done
}
at_exit() {
    local code=$?
    unfollow
    keep_call
    if [ "${code}" -ne 0 ]; then explain_full_disk; fi
}
trap at_exit EXIT

stage_begin=0
begin_stage() {
    stage_begin=${SECONDS}
    log "Stage $1: $2"
}
# Notes how long a stage took: data stages for every experiment on that data, the others for this one.
end_stage() {
    unfollow
    local seconds=$(( SECONDS - stage_begin )) folder=${speechclip_exp}/.seconds
    if [ "$1" -le 6 ]; then folder=${dumpdir}/.seconds/${train_set}; fi
    mkdir -p "${folder}"
    echo "${seconds}" > "${folder}/$1"
    log "Stage $1: finished in ${seconds} s"
    if [ "$1" -gt 6 ]; then write_stage_seconds; fi
}
write_stage_seconds() {
    local number file rows=()
    for number in 1 2 3 4 5 6 7 8 9 10; do
        for file in "${dumpdir}/.seconds/${train_set}/${number}" "${speechclip_exp}/.seconds/${number}"; do
            if [ -e "${file}" ]; then rows+=("\"${number}\": $(< "${file}")"); fi
        done
    done
    local joined
    joined=$(printf ', %s' "${rows[@]}")
    echo "{${joined:2}}" > "${speechclip_exp}/.stage_seconds.json"
    mv "${speechclip_exp}/.stage_seconds.json" "${speechclip_exp}/stage_seconds.json"
}

# Fails when results (files or folders) were made from other data or another model: need_fresh <stages> <result>...
need_fresh() {
    local stages=$1
    shift
    ${python} -m espnet_plugin.bin.datadir fresh --results "$@" --remedy "run ${stages} again"
}
# Fails when the data or the frozen models are not those of the experiment's training
need_own_training() {
    if [ -n "${model}" ]; then return; fi
    ${python} -m espnet_plugin.bin.datadir fresh --results "${speechclip_exp}" --any_version \
        --remedy "the model was trained on other data, or with other frozen models. Make those of its training again (stages 1 to 6 with its options), or train with --speechclip_tag another"
}
# Whether the experiment's configuration names the very frozen models that this call names: then it
# is this call that is trusted, and not a model from elsewhere.
names_teachers_of_this_call() {
    ${python} -m espnet_plugin.bin.recipe teachers "${speechclip_exp}/config.yaml" \
        "${speech_encoder}" "${upstream_name}" "${upstream_checkpoint}" "${clip_model}" 2> /dev/null
}
# Fails where a set's image embeddings are of another CLIP than this call's: need_own_embeddings <image_feat.scp>
need_own_embeddings() {
    awk -v folder="${clip_dir}/" 'index($0, " " folder) == 0 {exit 1}' "$1" \
        || fail "$1: the image embeddings are not of ${clip_dir}; run stage 4 again"
}
# Prints how many jobs share a list, so that no part is empty: jobs_of <list> <most jobs>
jobs_of() { awk -v nj="$2" '/[^ \t\r]/ {n++} END {if (n > nj) n = nj + 0; print n < 1 ? 1 : n}' < "$1"; }

# Runs a command over a frozen model as an array of jobs, and shows what their logs say was skipped
# or cut: run_jobs <what> <folder> <jobs> <command> <options>. The logs are in <folder>/logs.
run_jobs() {
    local what=$1 log=$2/logs/$4 jobs=$3 job
    follow "${log}.1.log"
    OMP_NUM_THREADS=${job_threads} "${frozen_cmd[@]}" JOB=1:"${jobs}" "${log}.JOB.log" \
        ${python} -m "espnet_plugin.bin.$4" --part "JOB/${jobs}" --ngpu "${frozen_ngpu}" "${@:5}" \
        || { unfollow; tail -n 25 "${log}.1.log" >&2; fail "${what} failed; see $2/logs"; }
    unfollow
    for job in $(seq "${jobs}"); do grep -h ' WARNING: ' "${log}.${job}.log" || true; done | tail -n 5 >&2
}
# Joins the lists that the jobs of an array wrote: join_scp <name> <folder> <jobs>
join_scp() {
    local job
    for job in $(seq "$3"); do cat "$2/logs/$1.${job}.scp"; done | LC_ALL=C sort -u > "$2/.$1.scp"
    mv "$2/.$1.scp" "$2/$1.scp"
}

# Keeps a file locked while this script or anything that it started is running, whatever ends it:
# lock <file> <shared|exclusive> <what>; the lock is then that of ${lock_descriptor}
lock() {
    command -v flock > /dev/null || return 0
    mkdir -p "${1%/*}"
    # of a folder from elsewhere: what a link leads to would be overwritten
    [ ! -L "$1" ] || fail "$1 is a link, which no run leaves; remove it"
    exec {lock_descriptor}>> "$1"
    flock --nonblock "--$2" "${lock_descriptor}" || fail "$3: in use by another run, or by jobs that it left behind:
  $(< "$1")
  Wait until it is done, or stop it. (The lock is ${1}; it goes with its processes.)"
    echo "process $$ on $(uname -n), user $(id -un), since $(date '+%F %T'): ${run_args}" > "$1"
}
# Removes what killed runs left half written in folders that are locked.
sweep() {
    local folder
    for folder in "$@"; do
        if [ -d "${folder}" ]; then find "${folder}" \( -name '.*.[0-9a-f]*.part*' -o -name '.dist_init_*' \) -prune -exec rm -rf {} +; fi
    done
}

need_data() {
    local s
    for s in "$@"; do
        [ -s "$s" ] || fail "$s is missing; run the earlier stages (./run.sh --stage 1)"
    done
}

# ---------------------------------------------------------------------------------------- stages

# another corpus of the same name may neither replace the sets nor score what was trained on them
if [ -n "${CUSTOM_ROOT:-}" ] && [ -e "${datadir}/local/${corpus}/root" ]; then
    prepared=$(< "${datadir}/local/${corpus}/root")
    [ "${prepared}" = "${CUSTOM_ROOT}" ] || fail "the sets ${corpus}_* in ${datadir} are of ${prepared}, not of ${CUSTOM_ROOT}. Rename one of the folders. If you moved the corpus, remove ${datadir}/local/${corpus}/root and start at stage 1"
fi

writes=("${dumpdir}")
if runs_stage 1; then writes+=("${datadir}"); fi
if [ "${chosen[-1]}" -gt 5 ]; then writes+=("${expdir}"); fi
for folder in "${writes[@]}"; do
    mkdir -p "${folder}" 2> /dev/null && [ -w "${folder}" ] \
        || fail "${folder} cannot be written to: the file system is read-only, or it is someone else's. Mount it for writing, or choose others with --dumpdir, --expdir and --datadir"
done

# trainings of several models may share the data, which none of them writes
lock_descriptor=
data_descriptors=()
lock_data() {
    lock "$1" "${data_mode}" "$2"
    data_descriptors+=("${lock_descriptor}")
}
data_mode=shared
if [ "${chosen[0]}" -le 6 ]; then data_mode=exclusive; fi
data_folders=("${clip_dir}")
for name in "${all_sets[@]}"; do
    lock_data "${dumpdir}/.lock_${name}" "the data of ${name}"
    data_folders+=("${datadir}/${name}" "${data_feats}/${name}" "${data_feats}/org/${name}" "${states_dir}/${name}")
done
lock_data "${dumpdir}/.lock_${clip_dir##*/}" "the image embeddings in ${clip_dir}"
if [ "${data_mode}" = exclusive ]; then
    if runs_stage 1; then data_folders+=("downloads/${corpus}" "${datadir}/local/${corpus}"); fi
    sweep "${data_folders[@]}" "${token_list%/*}" "${stats_dir}"
fi
if [ "${chosen[-1]}" -gt 6 ]; then
    lock "${speechclip_exp}/.lock" exclusive "${speechclip_exp}"
    sweep "${speechclip_exp}"
fi

if runs_stage 1; then
    begin_stage 1 "data preparation of ${corpus:-the corpus} (local/data.sh)"
    # shellcheck disable=SC2086
    local/data.sh --corpus "${corpus}" --data_dir "${datadir}" --nj "${nj}" --python "${python}" --max_bad "${max_bad}" ${local_data_opts}
    for name in "${all_sets[@]}"; do
        [ -s "${datadir}/${name}/wav.scp" ] || fail "local/data.sh did not make ${datadir}/${name}/wav.scp"
    done
    end_stage 1
fi

if runs_stage 2; then
    begin_stage 2 "format recordings to ${fs}Hz, one channel, ${audio_format} -> ${data_feats}/org"
    for name in "${all_sets[@]}"; do
        need_data "${datadir}/${name}/wav.scp"
        out=${data_feats}/org/${name}
        ${python} -m espnet_plugin.bin.datadir copy --input_dir "${datadir}/${name}" --output_dir "${out}"
        if [ "${train_cmd}" = run.pl ]; then
            ${python} -m espnet_plugin.bin.format_wav_scp --wav_scp "${datadir}/${name}/wav.scp" --output_dir "${out}" \
                --fs "${fs}" --audio_format "${audio_format}" --nj "${nj}" --max_bad "${max_bad}"
        else
            jobs=$(jobs_of "${datadir}/${name}/wav.scp" "${nj}")
            ${train_cmd} JOB=1:"${jobs}" "${out}/logs/format_wav_scp.JOB.log" \
                ${python} -m espnet_plugin.bin.format_wav_scp --wav_scp "${datadir}/${name}/wav.scp" --output_dir "${out}" \
                --fs "${fs}" --audio_format "${audio_format}" --part "JOB/${jobs}"
            ${python} -m espnet_plugin.bin.format_wav_scp --wav_scp "${datadir}/${name}/wav.scp" --output_dir "${out}" \
                --fs "${fs}" --audio_format "${audio_format}" --merge --max_bad "${max_bad}"
        fi
    done
    end_stage 2
fi

if runs_stage 3; then
    begin_stage 3 "check images, remove too short and too long recordings -> ${data_feats}"
    for name in "${all_sets[@]}"; do
        org=${data_feats}/org/${name}
        need_data "${org}/utt2num_samples"
        # the images as the corpus names them: a repaired file counts again
        cp "${datadir}/${name}/image.scp" "${org}/image.scp"
        ${python} -m espnet_plugin.bin.datadir check_images --dir "${org}" --nj "${nj}" --max_bad "${max_bad}"
        limits=()
        if [ "${name}" = "${train_set}" ]; then
            limits=(--min_seconds "${min_wav_duration}" --max_seconds "${max_wav_duration}")
        elif [ "${name}" = "${valid_set}" ]; then
            limits=(--max_seconds 400)  # as inference; training pads its batches to the longest
        fi
        ${python} -m espnet_plugin.bin.datadir filter --input_dir "${org}" --output_dir "${data_feats}/${name}" \
            --fs "${fs}" ${limits[@]+"${limits[@]}"}
        ${python} -m espnet_plugin.bin.datadir fix --dir "${data_feats}/${name}"
        ${python} -m espnet_plugin.bin.datadir image_ids --dir "${data_feats}/${name}" --audio_format "${audio_format}"
        options=()
        # only captions of the corpus are a vocabulary's source that must be there
        if [ -n "${model}" ] || [[ ${vocab_from} != train && ${vocab_from} != all ]]; then options=(--no_text); fi
        ${python} -m espnet_plugin.bin.datadir validate --dir "${data_feats}/${name}" ${options[@]+"${options[@]}"}
    done
    end_stage 3
fi

if runs_stage 4; then
    begin_stage 4 "image embeddings of CLIP ${teacher[*]} -> ${clip_dir}"
    image_scps=()
    for name in "${all_sets[@]}"; do image_scps+=("${data_feats}/${name}/image.scp"); done
    need_data "${image_scps[@]}"
    mkdir -p "${clip_dir}"
    LC_ALL=C sort -u "${image_scps[@]}" > "${clip_dir}/.image.scp"
    mv "${clip_dir}/.image.scp" "${clip_dir}/image.scp"
    jobs=$(jobs_of "${clip_dir}/image.scp" "${inference_nj}")
    run_jobs "image embeddings" "${clip_dir}" "${jobs}" dump_image_embeddings --image_scp "${clip_dir}/image.scp" \
        --output_dir "${clip_dir}" --output_scp "${clip_dir}/logs/image_embedding.JOB.scp" "${clip_args[@]}"
    join_scp image_embedding "${clip_dir}" "${jobs}"
    for name in "${all_sets[@]}"; do
        ${python} -m espnet_plugin.bin.datadir image_feats --dir "${data_feats}/${name}" \
            --embedding_scp "${clip_dir}/image_embedding.scp"
    done
    end_stage 4
fi

if runs_stage 5; then
    begin_stage 5 "keyword vocabulary (${vocab_text:-${vocab_from}}) -> ${token_list}"
    options=()
    case "${vocab_from}" in
        general) options=(--general_words "${datadir}/token_list/general_english.tsv");;
        text) options=(--vocab_text "${vocab_text}");;
        train) options=(--text "${data_feats}/${train_set}/text");;
        all)
            # every caption of the corpus, also of images in no split and of skipped recordings
            options=(--original --text)
            if [ -s "${datadir}/local/${corpus}/captions" ]; then
                options+=("${datadir}/local/${corpus}/captions")
            else
                for name in "${all_sets[@]}"; do options+=("${data_feats}/${name}/text"); done
            fi;;
        clip) options=(--whole_clip);;
    esac
    ${python} -m espnet_plugin.bin.keyword_vocabulary "${options[@]}" --clip_model "${clip_model}" --output "${token_list}"
    end_stage 5
fi

# What training and inference are told about the model, beside the configuration.
model_args=(
    "${encoder_args[@]}"
    --clip_conf "model=${clip_model}"
    --clip_conf "pretrained=${clip_pretrained}"
    --keyword_vocabulary "${token_list}"
)
# The data of one set for training: data_args <train|valid> <set>
data_args() {
    local dir=${data_feats}/$2 option=--$1_data_path_and_name_and_type
    if "${dump_speech_states}"; then
        printf '%s\n' "${option}" "${dir}/speech_states.scp,speech_states,frames"
    else
        printf '%s\n' "${option}" "${dir}/wav.scp,speech,sound"
    fi
    printf '%s\n' "${option}" "${dir}/image_feat.scp,image,npy" "${option}" "${dir}/utt2image_id,image_id,text_int"
    if [ -e "${dir}/text" ]; then printf '%s\n' "${option}" "${dir}/text,text,text"; fi
}
if runs_stage 6 || runs_stage 7; then
    mapfile -t train_data < <(data_args train "${train_set}")
    mapfile -t valid_data < <(data_args valid "${valid_set}")
fi

if runs_stage 6; then
    begin_stage 6 "shape files -> ${stats_dir}"
    for name in "${train_set}" "${valid_set}"; do
        need_data "${data_feats}/${name}/utt2num_samples" "${data_feats}/${name}/image_feat.scp"
    done
    if "${dump_speech_states}"; then
        # inference starts from the recordings, so the test sets need none
        for name in "${train_set}" "${valid_set}"; do
            out=${states_dir}/${name}
            log "hidden states of ${upstream_name}, ${name} -> ${out}"
            jobs=$(jobs_of "${data_feats}/${name}/wav.scp" "${inference_nj}")
            # the speech encoder's options are the training's
            # shellcheck disable=SC2086
            run_jobs "hidden states" "${out}" "${jobs}" dump_speech_states \
                --wav_scp "${data_feats}/${name}/wav.scp" --utt2num_samples "${data_feats}/${name}/utt2num_samples" \
                --output_dir "${out}" --output_scp "${out}/logs/speech_states.JOB.scp" --states_dtype "${states_dtype}" \
                -- --config "${speechclip_config}" "${encoder_args[@]}" ${speechclip_args}
            join_scp speech_states "${out}" "${jobs}"
            cp "${out}/speech_states.scp" "${data_feats}/${name}/speech_states.scp"
        done
    fi
    for pair in "train ${train_set}" "valid ${valid_set}"; do
        read -r part name <<< "${pair}"
        mkdir -p "${stats_dir}/${part}"
        used=${data_feats}/${name}/wav.scp
        # without those whose states could not be stored
        if "${dump_speech_states}"; then used=${data_feats}/${name}/speech_states.scp; fi
        # a number of samples per utterance is all that the batch sampler wants to know
        awk 'NR == FNR {used[$1]; next} $1 in used' "${used}" "${data_feats}/${name}/utt2num_samples" \
            > "${stats_dir}/${part}/speech_shape"
    done
    end_stage 6
fi

for descriptor in "${data_descriptors[@]}"; do
    if [ -n "${descriptor}" ]; then flock --nonblock --shared "${descriptor}"; fi
done

if runs_stage 7; then
    begin_stage 7 "training with ${speechclip_config} -> ${speechclip_exp}"
    need_data "${stats_dir}/train/speech_shape" "${stats_dir}/valid/speech_shape" "${token_list}"
    need_fresh "stage 5" "${token_list}"
    for name in "${train_set}" "${valid_set}"; do
        need_own_embeddings "${data_feats}/${name}/image_feat.scp"
    done
    mkdir -p "${speechclip_exp}"
    init_args=()
    if [ -n "${pretrained_model}" ]; then
        need_data "${pretrained_model%%:*}"
        # not the update counter, by which CIF's scaling and the quantiser's temperature are scheduled
        IFS=: read -r init_file init_from init_to init_without <<< "${pretrained_model}"
        init_without=${init_without:+${init_without},}num_updates
        init_args=(--init_param "${init_file}:${init_from}:${init_to}:${init_without}" --ignore_init_mismatch "${ignore_init_mismatch}")
    fi
    languages=()
    if [ -e "${data_feats}/${train_set}/utt2lang" ]; then
        mapfile -t languages < <(awk 'NF > 1 {print $2}' "${data_feats}/${train_set}/utt2lang" | LC_ALL=C sort -u)
        languages=(--spoken_languages "${languages[@]}")
    fi
    keep_call  # of a start that was killed
    {
        echo "#!/usr/bin/env bash"
        echo "# trains this model again, from the recipe's folder"
        echo "${run_args}--stage 7 --stop_stage 7"
    } > "${speechclip_exp}/.run.sh"
    chmod +x "${speechclip_exp}/.run.sh"
    log "log: ${speechclip_exp}/train.log"
    follow "${speechclip_exp}/train.log"
    # shellcheck disable=SC2086
    OMP_NUM_THREADS=${num_threads} ${python} -m espnet2.bin.launch \
        --cmd "${cuda_cmd} --name ${speechclip_exp##*/}" \
        --log "${speechclip_exp}/train.log" \
        --ngpu "${ngpu}" \
        --num_nodes "${num_nodes}" \
        --init_file_prefix "${speechclip_exp}/.dist_init_" \
        --multiprocessing_distributed true -- \
        ${python} -m espnet_plugin.bin.speechclip_train \
        --use_preprocessor true \
        "${train_data[@]}" "${valid_data[@]}" \
        --train_shape_file "${stats_dir}/train/speech_shape" \
        --valid_shape_file "${stats_dir}/valid/speech_shape" \
        --resume true \
        ${init_args[@]+"${init_args[@]}"} \
        --output_dir "${speechclip_exp}" \
        --config "${speechclip_config}" \
        --seed "${seed}" \
        "${model_args[@]}" ${languages[@]+"${languages[@]}"} ${speechclip_args} \
        > "${speechclip_exp}/launch.log" 2>&1 \
        || { unfollow
             training_log=${speechclip_exp}/train.log
             # an earlier start's, when this one did not come so far
             if ! [ "${training_log}" -nt "${speechclip_exp}/.run.sh" ]; then training_log=${speechclip_exp}/launch.log; fi
             tail -n 25 "${training_log}" >&2
             resume=
             # what is refused before the first epoch would be refused again
             if [ -e "${speechclip_exp}/checkpoint.pth" ] && grep -q 'epoch started' "${training_log}"; then
                 resume=". Start stage 7 again to resume"
             fi
             fail "training failed; see ${training_log}${resume}"; }
    keep_call
    end_stage 7
fi

if runs_stage 8; then
    begin_stage 8 "inference with ${model:-${inference_model}} -> ${inference_dir}"
    if [ -z "${model}" ]; then need_data "${speechclip_exp}/config.yaml"; fi
    if [ -z "${model}" ] && ! [ -e "${speechclip_exp}/${inference_model}" ]; then
        fail "${speechclip_exp}/${inference_model} is missing; there are $(cd "${speechclip_exp}" && echo ./*.pth)"
    fi
    need_own_training
    options=()
    if [ -n "${inference_config}" ]; then options=(--config "${inference_config}"); fi
    if [ -z "${model}" ]; then
        if "${trust_remote_code}" || { [ "${speech_encoder}" = s3prl ] && names_teachers_of_this_call; }; then
            options+=(--trust_remote_code)
        fi
    fi
    for name in "${eval_sets[@]}"; do
        set_dir=${data_feats}/${name}
        out=${inference_dir}/${name}
        need_data "${set_dir}/wav.scp" "${set_dir}/image_feat.scp"
        jobs=$(jobs_of "${set_dir}/wav.scp" "${inference_nj}")
        output=${out}
        if [ "${jobs}" -gt 1 ]; then output=${out}/logs/output.JOB; fi
        captions=()
        if [ -e "${set_dir}/text" ]; then captions=(--text "${set_dir}/text"); fi
        log "inference on ${name}, log: ${out}/logs/speechclip_inference.1.log"
        # shellcheck disable=SC2086
        run_jobs "inference" "${out}" "${jobs}" speechclip_inference \
            ${options[@]+"${options[@]}"} --seed "${seed}" \
            --data_path_and_name_and_type "${set_dir}/wav.scp,speech,sound" ${captions[@]+"${captions[@]}"} \
            --utt2image "${set_dir}/utt2image" --image_scp "${clip_dir}/image_embedding.scp" \
            --shape_file "${set_dir}/utt2num_samples" "${inferring[@]}" --output_dir "${output}" ${inference_args}
        if [ "${jobs}" -gt 1 ]; then
            parts=()
            for job in $(seq "${jobs}"); do parts+=("${out}/logs/output.${job}"); done
            ${python} -m espnet_plugin.bin.speechclip_inference --merge "${parts[@]}" --output_dir "${out}" \
                > "${out}/logs/merge.log" 2>&1 \
                || { tail -n 25 "${out}/logs/merge.log" >&2; fail "the jobs' outputs cannot be put together; see ${out}/logs/merge.log"; }
        fi
    done
    end_stage 8
fi

if runs_stage 9; then
    begin_stage 9 "scoring -> ${inference_dir}/RESULTS.md"
    write_stage_seconds
    need_own_training
    # what is chosen is chosen on the validation set, in a search of its images and training's
    options=()
    if "${eval_valid_set}"; then
        need_data "${data_feats}/${train_set}/image_feat.scp"
        options=(--dev_set "${valid_set}" --train_dir "${data_feats}/${train_set}")
    fi
    read -r first_test_set _ <<< "${test_sets}"  # the report is about it
    sets=("${first_test_set}")
    for name in "${eval_sets[@]}"; do
        need_data "${inference_dir}/${name}/utterances.txt"
        need_fresh "stage 8" "${inference_dir}/${name}"
        if [ "${name}" != "${first_test_set}" ]; then sets+=("${name}"); fi
    done
    if ! "${report}"; then options+=(--no_report); fi
    ${python} -m espnet_plugin.bin.score --expdir "${experiment}" --inference_dir "${inference_dir}" \
        --sets "${sets[@]}" --data_root "${data_feats}" ${options[@]+"${options[@]}"}
    end_stage 9
fi

packed_model=${speechclip_exp}/model
if runs_stage 10; then
    begin_stage 10 "the model's folder -> ${packed_model}"
    need_own_training
    options=()
    if [ -e "${inference_dir}/RESULTS.md" ]; then
        for name in "${eval_sets[@]}"; do need_fresh "stage 8" "${inference_dir}/${name}"; done
        need_fresh "stage 9" "${inference_dir}/scores.json"
        options+=(--option "${inference_dir}/RESULTS.md")
    fi
    if [ -e "${inference_dir}/choices.json" ]; then
        need_fresh "stages 8 and 9" "${inference_dir}/choices.json"
        options+=(--choices "${inference_dir}/choices.json")
    fi
    ${python} -m espnet_plugin.bin.speechclip_pack \
        --train_config "${speechclip_exp}/config.yaml" --model_file "${speechclip_exp}/${inference_model}" \
        ${options[@]+"${options[@]}"} --outpath "${packed_model}" > "${speechclip_exp}/pack.log" 2>&1 \
        || { tail -n 25 "${speechclip_exp}/pack.log" >&2; fail "packing failed; see ${speechclip_exp}/pack.log"; }
    end_stage 10
fi

if runs_stage 11; then
    begin_stage 11 "upload of ${packed_model} to ${hf_repo}"
    need_data "${packed_model}"
    need_fresh "stage 10" "${packed_model}"
    ${python} -m espnet_plugin.bin.recipe upload "${packed_model}" "${hf_repo}" || fail "nothing was uploaded"
    end_stage 11
fi

finished="stage ${chosen[*]}"
if [ ${#chosen[@]} -gt 1 ]; then finished="stages ${chosen[*]}"; fi
log "Successfully finished ${finished} in ${SECONDS} s${not_uploaded}"
if runs_stage 9; then
    ${python} -m espnet_plugin.bin.recipe close --inference_dir "${inference_dir}" --packed_model "${packed_model}"
fi
