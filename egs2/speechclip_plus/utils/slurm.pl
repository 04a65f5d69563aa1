#!/usr/bin/env bash
# Submits a command, or an array of them, to Slurm and waits for the end:
#   slurm.pl [options] [JOB=1:N] <log> <command> [arguments]
# Options: --gpu N --mem 4G --num_threads N --num_nodes N --time T --name NAME --max-jobs-run N
# --config FILE (default conf/slurm.conf). Every job sources ./path.sh first, because Slurm is told
# to export PATH only. Lines of the configuration: "command sbatch ..." (base command), and
# "option NAME=VALUE sbatch options" or "default NAME=VALUE". sbatch gets the options in the order of
# the file, and takes the last of two that contradict each other.
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

config=conf/slurm.conf job_name='' first=1 last=1
declare -A options=()
while [ $# -gt 0 ]; do
    case "$1" in
        --config) config=${2:?}; shift 2;;
        --*) [ $# -ge 2 ] || usage; name=${1#--}; options[${name//-/_}]=$2; shift 2;;
        *=*:*)
            [[ $1 =~ ^([A-Za-z_][A-Za-z0-9_]*)=([0-9]+):([0-9]+)$ ]] || break
            job_name=${BASH_REMATCH[1]} first=${BASH_REMATCH[2]} last=${BASH_REMATCH[3]}
            shift;;
        *) break;;
    esac
done
[ $# -ge 2 ] || usage
command -v sbatch > /dev/null || { echo "slurm.pl: error: no sbatch here; set cmd_backend=local in cmd.sh" >&2; exit 1; }
log_pattern=$1
shift

base=(sbatch --export=PATH) order=()
declare -A templates=()
if [ -r "${config}" ]; then
    while read -r kind key rest; do
        case "${kind}" in
            command) read -ra base <<< "${key} ${rest}";;
            default) options[${key%%=*}]=${options[${key%%=*}]:-${key#*=}};;
            option) templates[${key}]=${rest} order+=("${key%%=*}");;
        esac
    done < <(sed 's/#.*//' "${config}")
fi
submit=("${base[@]}")
for name in $(printf '%s\n' ${order[@]+"${order[@]}"} | awk '!seen[$0]++'); do
    value=${options[${name}]-}
    [ -n "${value}" ] || continue
    template=${templates["${name}=${value}"]-${templates["${name}=*"]-}}
    read -ra words <<< "${template//\$0/${value}}"
    submit+=("${words[@]}")
done

log_directory=$(dirname "${log_pattern}")
mkdir -p "${log_directory}/q"
script=${log_directory}/q/$(basename "${log_pattern}" .log | tr -c 'A-Za-z0-9._\n-' _).sh
log=${log_pattern}
quoted=$(printf '%q ' "$@")
# shellcheck disable=SC2016
call='"${arguments[@]}"'
if [ -n "${job_name}" ]; then
    call="\"\${arguments[@]//${job_name}/\${SLURM_ARRAY_TASK_ID}}\""
    log=${log//"${job_name}"/%a}
    submit+=("--array=${first}-${last}${options[max_jobs_run]:+%${options[max_jobs_run]}}")
fi
cat > "${script}" << EOF
#!/usr/bin/env bash
cd $(printf '%q' "${PWD}")
. ./path.sh
echo "# Running on \$(uname -n)"
echo "# Started at \$(date)"
export SRUN_CPUS_PER_TASK=\${SLURM_CPUS_PER_TASK:-1}  # srun of Slurm 22.05 gets one otherwise
code=0
arguments=(${quoted})
${call} || code=\$?
echo "# Ended (code \${code}) at \$(date)"
exit \${code}
EOF
"${submit[@]}" --wait --open-mode=truncate --output="${log}" "${script}" > "${script}.out" 2>&1 || {
    tail -n 3 "${script}.out" >&2  # what sbatch said, if it took no job
    echo "slurm.pl: a job of ${script} failed; see ${log} and ${script}.out" >&2
    exit 1
}
