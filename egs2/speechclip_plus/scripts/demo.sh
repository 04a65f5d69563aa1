#!/usr/bin/env bash
# Trains hybrid+, the paper's, and hybrid+ annealed on the generated corpus mini, and compares
# them: run from the recipe's folder as scripts/demo.sh. What is finished is kept, so it can be
# stopped and started.
set -e
set -u
set -o pipefail

# shellcheck source=scripts/utils/supervise.sh
. scripts/utils/supervise.sh

only=
python=python3

help_message=$(cat << 'EOT'
Usage: scripts/demo.sh [--only hybrid_plus|hybrid_plus_annealed] [--python PYTHON] [options of run.sh]

Makes the corpus, its small CLIP and its small HuBERT once. Then it trains and scores hybrid+ and
hybrid+ annealed, at the same time where there are two processors. It ends with a table and a page
that compare them.

  --only NAME      train one of them (default: both)
  --python PYTHON  Python that runs everything (default python3)
EOT
)

arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --only) only=${2?"--only needs a value"}; shift 2;;
        --python) python=${2:?"--python needs a value"}; shift 2;;
        --help|-h) printf '%s\n' "${help_message}"; exit 0;;
        *) arguments+=("$1"); shift;;
    esac
done
case "${only}" in
    hybrid_plus|hybrid_plus_annealed) systems=("${only}");;
    "") systems=(hybrid_plus hybrid_plus_annealed);;
    *) echo "demo.sh: error: --only takes hybrid_plus or hybrid_plus_annealed, not '${only}'" >&2; exit 2;;
esac
[ -x ./run.sh ] || { echo "demo.sh: error: run it from the recipe's folder: scripts/demo.sh" >&2; exit 2; }

folder=exp/demo
mkdir -p "${folder}"
title_of() { local title=${1//_plus/+}; echo "${title//_/ }"; }
shown() { realpath --relative-to "${SPEECHCLIP_CALLED_FROM:-.}" "$1"; }
# "1 hour, 2 minutes and 3.45 seconds" in whole minutes, at least 1
minutes() {
    awk '{
        for (i = 1; i < NF; i++) {
            if ($(i + 1) ~ /^hour/) seconds += 3600 * $i
            if ($(i + 1) ~ /^minute/) seconds += 60 * $i
            if ($(i + 1) ~ /^second/) seconds += $i
        }
        print seconds < 90 ? 1 : int(seconds / 60 + 0.5)
    }' <<< "$1"
}

# Writes the output of run.sh to a log, and says in a line for each stage and each epoch how far it
# is: narrate <who> <log>
narrate() {
    local who=$1 line stage=0 epoch='' said=''
    while IFS= read -r line; do
        printf '%s\n' "${line}" >&3
        if [[ ${line} =~ begin_stage\)\ Stage\ ([0-9]+):\ (.*) ]]; then
            stage=${BASH_REMATCH[1]}
            # the last epoch, after which there is no estimate
            if [ -n "${said}" ]; then echo "${who}: epoch ${epoch} of ${epoch}, ${said}"; said=; fi
            line=${BASH_REMATCH[2]%% -> *}
            line=${line%% downloads/*}
            echo "${who}: ${line%% with *}"
        elif [[ ${line} =~ ([0-9]+)epoch\ results:\ recall_mean_at_1=([0-9.]+) ]]; then
            epoch=${BASH_REMATCH[1]}
            said="R@1 on dev: $(awk '{printf "%.1f", 100 * $1}' <<< "${BASH_REMATCH[2]}") %"
        elif [[ ${line} =~ [0-9]+/([0-9]+)epoch\ started.*\ to\ finish:\ (.*) ]] && [ -n "${epoch}" ]; then
            echo "${who}: epoch ${epoch} of ${BASH_REMATCH[1]}, ${said}, about $(minutes "${BASH_REMATCH[2]}") min left"
            said=
        elif [ "${stage}" -le 6 ] && [[ ${line} =~ ([A-Za-z][A-Za-z\ ]*:\ [0-9,]+/[0-9,]+\ [a-z]+\ after\ .*) ]]; then
            echo "${who}: ${BASH_REMATCH[1]}"
        fi
    done 3> "$2"
}

# run <who> <log> <options of run.sh>
run() {
    if ! ./run.sh ${arguments[@]+"${arguments[@]}"} --python "${python}" --corpus mini "${@:3}" 2>&1 | narrate "$1" "$2"; then
        echo "demo.sh: error: $1 failed; see $(shown "$2"), which ends with:" >&2
        tail -n 1 "$2" >&2
        return 1
    fi
}
# Stages 7 to 10 with one process, so that two systems have a processor each
train() {
    run "$(title_of "$1")" "${folder}/$1.log" --speechclip_config "conf/tuning/mini_$1.yaml" \
        --stage 7 --stop_stage 10 --inference_nj 1
}

# nproc would report OMP_NUM_THREADS
processors=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2> /dev/null || echo 1)
if [ "${processors}" -gt 1 ] || [ "${#systems[@]}" -eq 1 ]; then
    echo "demo: corpus, small CLIP and HuBERT, training and scores of $(title_of "${systems[0]}")${systems[1]:+ and $(title_of "${systems[1]}") at the same time}: about ten minutes on two cores"
else
    echo "demo: there is one core, so hybrid+ and hybrid+ annealed are trained one after the other: about twenty-five minutes"
fi
# what was started goes with this script's process group
trap 'echo "demo: stopped; start it again to continue" >&2; exit 143' TERM

run "mini" "${folder}/data.log" --stage 1 --stop_stage 6 || exit 1
running=() failed=0
finish() {
    for process in "${running[@]}"; do wait "${process}" || failed=1; done
    running=()
}
for system in "${systems[@]}"; do
    train "${system}" &
    running+=($!)
    if [ "${processors}" -eq 1 ]; then finish; fi
done
finish
if [ "${failed}" -ne 0 ]; then
    echo "demo.sh: start it again to continue; what is finished is kept" >&2
    exit 1
fi

inferred=()
for system in "${systems[@]}"; do
    inferred+=("$(sed -n 's|.* Stage 9: scoring -> \(.*\)/RESULTS\.md$|\1|p' "${folder}/${system}.log")")
done
# the last set that was inferred
tested=$(sed -n 's|.* inference on \(.*\), log: .*|\1|p' "${folder}/${systems[-1]}.log" | tail -n 1)
experiment=${inferred[-1]%/*}
. ./path.sh
echo
"${python}" -m espnet_plugin.bin.recipe compare "${inferred[@]}" --data_dir "dump/raw/${tested}" --page "${folder}/compare.html"
activate=${python%/*}/activate
cat << EOT

Next, in the project's root:
$(if [ -e "${activate}" ]; then echo "    source $(shown "${activate}")"; fi)
    make page ONLY=${experiment#*/speechclip_mini_}    # $(title_of "${systems[-1]}") in your browser
    speechclip index ~/Pictures --model flickr8k-base-hybrid-plus --index images.index    # a released model, 0.9 GiB
EOT
