#!/usr/bin/env bash
# Runs a command, or an array of them in parallel, on this machine:
#   run.pl [options] [JOB=1:N] <log> <command> [arguments]
# JOB stands for the number of the job, in the log's name and in the command. Every job writes into
# its log. Exits with 1 when a job failed. The name and the call are those of ESPnet's and Kaldi's
# scripts (which are Perl), because espnet2.bin.launch knows them by name.
# Options with a value, for schedulers, are accepted and ignored: --gpu --mem --num_threads
# --num_nodes --name --config --time; --max-jobs-run N limits how many run at once.
set -u

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

# nproc would report OMP_NUM_THREADS, which path.sh sets
max_jobs_run=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2> /dev/null || echo 1)
job_name='' first=1 last=1
while [ $# -gt 0 ]; do
    case "$1" in
        --max-jobs-run|--max_jobs_run) max_jobs_run=${2:?}; shift 2;;
        --*) [ $# -ge 2 ] || usage; shift 2;;
        *=*:*)
            if [[ $1 =~ ^([A-Za-z_][A-Za-z0-9_]*)=([0-9]+):([0-9]+)$ ]]; then
                job_name=${BASH_REMATCH[1]} first=${BASH_REMATCH[2]} last=${BASH_REMATCH[3]}
                shift
            else
                break
            fi;;
        *) break;;
    esac
done
[ $# -ge 2 ] || usage
if [ "${first}" -gt "${last}" ] || [ "${first}" -lt 1 ]; then
    echo "run.pl: error: an array runs from 1 or more upwards, not ${first}:${last}" >&2
    exit 2
fi
log_pattern=$1
shift
if [ "${last}" -gt "${first}" ] && [[ ${log_pattern} != *"${job_name}"* ]]; then
    echo "run.pl: error: the log '${log_pattern}' needs ${job_name} in its name" >&2
    exit 2
fi

run_job() {
    local job=$1 arguments=() argument code=0 begin=${SECONDS}
    shift
    for argument in "$@"; do
        [ -z "${job_name}" ] || argument=${argument//"${job_name}"/${job}}
        arguments+=("${argument}")
    done
    printf '# %s\n' "$(printf '%q ' "${arguments[@]}")"
    echo "# Running on $(uname -n)"
    echo "# Started at $(date)"
    # in the background, so that a stop of this script can be passed on to it
    "${arguments[@]}" < /dev/null &
    local child=$!
    trap 'kill "${child}" 2> /dev/null; wait "${child}"; echo "# Stopped at $(date)"; exit 143' TERM
    wait "${child}" || code=$?
    trap - TERM
    echo "# Accounting: time=$((SECONDS - begin))"
    echo "# Ended (code ${code}) at $(date)"
    return "${code}"
}

children=()
# a scheduler's or a user's stop reaches the jobs too
trap 'kill "${children[@]}" 2> /dev/null; exit 143' TERM HUP
trap 'kill "${children[@]}" 2> /dev/null; exit 130' INT

log_of() {
    if [ -z "${job_name}" ]; then echo "${log_pattern}"; else echo "${log_pattern//"${job_name}"/$1}"; fi
}

# named as what the recipe removes when a killed run has left it
failed=$(dirname "$(log_of "${first}")")/.failed.$$.part
trap 'rm -f "${failed}"' EXIT
for job in $(seq "${first}" "${last}"); do
    log=$(log_of "${job}")
    mkdir -p "$(dirname "${log}")"
    while [ "$(jobs -rp | wc -l)" -ge "${max_jobs_run}" ]; do
        wait -n || true
    done
    (
        if [ "${log}" = - ]; then run_job "${job}" "$@"; else run_job "${job}" "$@" > "${log}" 2>&1; fi \
            || echo "${job} ${log}" >> "${failed}"
    ) &
    children+=($!)
done
wait

if [ -s "${failed}" ]; then
    echo "run.pl: failed jobs: $(wc -l < "${failed}") of $((last - first + 1)); the log of the first: $(head -n 1 "${failed}" | cut -d ' ' -f 2-)" >&2
    exit 1
fi
