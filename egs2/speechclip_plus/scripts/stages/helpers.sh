#!/usr/bin/env bash
# Sourced by speechclip.sh: functions that its stages share.
# shellcheck disable=SC2154  # options.sh sets what they read

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
    # shellcheck disable=SC2086
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

need_data() {
    local s
    for s in "$@"; do
        [ -s "$s" ] || fail "$s is missing; run the earlier stages (./run.sh --stage 1)"
    done
}
