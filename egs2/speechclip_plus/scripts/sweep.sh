#!/usr/bin/env bash
# Trains and evaluates several architectures with several seeds and compares them: run from the
# recipe's folder as scripts/sweep.sh. What is finished is kept, so it can be stopped and started.
set -e
set -u
set -o pipefail

# Options
corpus=mini            # as for run.sh
architectures="parallel cascaded cascaded_plus hybrid hybrid_plus"  # what is trained
ablations=none         # none, all of these architectures, or lines of conf/ablations.tsv, <architecture>.<name>, separated by spaces
seeds="0 1 2 3 4"      # of the trainings
corpus_seeds=0         # generated corpora only: corpora and frozen models to make; all seeds are trained on each
evaluate_on="test"     # the set <corpus>_<this>; dev to choose something; digits also has strangers (unseen speakers) and five
config_prefix=         # empty: conf/tuning/<corpus>_ for mini, mini_babel and digits, else <corpus>_base_
measures=              # what is compared, separated by commas: keys of study.json, named before the runs; empty: as docs/protocol.md declares
tag=                   # names the experiments of a sweep whose --run_args name other data, e.g. one language
output_dir=            # empty: exp/sweep_<corpus>, with what differs from a plain sweep
jobs=1                 # runs at the same time, on one corpus; --run_args "--num_threads 1" gives each its share of the processors
python=python3         # Python that runs everything
run_args=              # more options of run.sh for every run
dry_run=false          # only say what would be run

# shellcheck disable=SC2034  # parse_options.sh shows it
help_message=$(cat << 'EOT'
Usage: scripts/sweep.sh [options]

Trains every architecture with every seed, writes study.json and prints its table: means with
standard deviations, and paired tests over images and over training runs. The first architecture is
the baseline of the others, and an ablation is compared with its own architecture.

All runs share one corpus and its frozen models, and the seeds differ in the training only: every
difference is paired. With several --corpus_seeds every seed is trained on each of their corpora,
and each corpus has a table of its own. docs/protocol.md has the rule by which a configuration is judged.
EOT
scripts/utils/print_options.sh "$0")

. utils/parse_options.sh
[[ ${jobs} =~ ^[1-9][0-9]*$ ]] || { echo "sweep.sh: error: --jobs must be a positive integer, got ${jobs}" >&2; exit 2; }
[[ ${corpus_seeds} =~ ^[0-9]+(\ +[0-9]+)*$ ]] || { echo "sweep.sh: error: --corpus_seeds must be numbers, got '${corpus_seeds}'" >&2; exit 2; }
[[ ${evaluate_on} =~ ^[a-z_]+$ && ${evaluate_on} != train ]] || { echo "sweep.sh: error: --evaluate_on takes the end of a set's name, such as test or dev, not '${evaluate_on}'" >&2; exit 2; }
[ $# -eq 0 ] || { echo "sweep.sh: error: no positional arguments are taken: $*" >&2; exit 2; }
[ -x ./run.sh ] || { echo "sweep.sh: error: run it from the recipe's folder: scripts/sweep.sh" >&2; exit 2; }
[ -n "${seeds}" ] && [ -n "${architectures}" ] || { echo "sweep.sh: error: --seeds and --architectures must not be empty" >&2; exit 2; }
[[ ${tag} =~ ^[A-Za-z0-9_]*$ ]] || { echo "sweep.sh: error: --tag takes letters, digits and underscores, not '${tag}'" >&2; exit 2; }
suffix=${tag:+_${tag}}
if [ "${corpus_seeds}" != 0 ]; then suffix+=_corpus${corpus_seeds// /_}; fi
if [ "${evaluate_on}" != test ]; then suffix+=_${evaluate_on}; fi
output_dir=${output_dir:-exp/sweep_${corpus}${suffix}}
if [ -z "${config_prefix}" ]; then
    case "${corpus}" in mini|mini_babel|digits) config_prefix=conf/tuning/${corpus}_;; *) config_prefix=conf/tuning/${corpus}_base_;; esac
fi

# The entry of a column of conf/ablations.tsv: ablation <name> <column>
ablation() { awk -F '\t' -v name="$1" -v column="$2" '$1 == name {print $column; exit}' conf/ablations.tsv; }
case "${ablations}" in
    none) ablations=;;
    all)
        ablations=
        for name in ${architectures}; do
            ablations+=" $(awk -F '[.\t]' -v base="${name}" '$1 == base {sub(/\t.*/, ""); print}' conf/ablations.tsv)"
        done;;
esac
for name in ${ablations}; do
    [ -n "$(ablation "${name}" 2)" ] || { echo "sweep.sh: error: ablation ${name} is unknown; see conf/ablations.tsv" >&2; exit 2; }
done
if [ -n "${ablations}" ] && [[ " ${run_args//-/_} " == *" __speechclip_args "* ]]; then
    echo "sweep.sh: error: an ablation sets --speechclip_args, which --run_args would replace; write these options into the configurations" >&2
    exit 2
fi
for name in ${architectures} ${ablations}; do
    file=${config_prefix}${name%%.*}.yaml
    [ -r "${file}" ] || { echo "sweep.sh: error: ${file} is missing; set --config_prefix" >&2; exit 2; }
done

# A corpus of seed 0 is not named: tag_of <name> <seed> <corpus seed>
tag_of() {
    local made=
    if [ "$3" != 0 ]; then made=_corpus$3; fi
    echo "sweep_${corpus}${tag:+_${tag}}${made}_$1_seed$2"
}
inference_tag=sweep
if [ "${evaluate_on}" != test ]; then inference_tag=sweep_${evaluate_on}; fi
scores_of() { echo "exp/speechclip_$(tag_of "$@")/inference_${inference_tag}/scores.json"; }
read -ra more <<< "--python ${python} ${run_args}"
prepared=
# Stages 1 to 6, once per corpus: prepare <corpus seed>
prepare() {
    if [ "${prepared}" != "$1" ]; then
        echo "sweep.sh: data of seed $1" >&2
        # in the background, because bash would handle a signal only after it
        ./run.sh --corpus "${corpus}" --seed "$1" --stop_stage 6 \
            --speechclip_config "${config_prefix}${architectures%% *}.yaml" ${more[@]+"${more[@]}"} &
        wait "$!"
        prepared=$1
    fi
}

# Sets call to the options of run.sh: options_of <name> <seed> <corpus seed>
options_of() {
    local sets=${corpus}
    if [ "$3" != 0 ]; then sets+=_seed$3; fi
    call=(--corpus "${corpus}" --corpus_seed "$3" --seed "$2" --stage 7 --stop_stage 9 --report false)
    call+=(--speechclip_config "${config_prefix}${1%%.*}.yaml")
    call+=(--speechclip_tag "$(tag_of "$@")" --inference_tag "${inference_tag}")
    if [[ $1 == *.* ]]; then call+=(--speechclip_args "$(ablation "$1" 2)"); fi
    if [ "${evaluate_on}" != test ] || [ "${corpus}" = digits ]; then call+=(--test_sets "${sets}_${evaluate_on}"); fi
    call+=(${more[@]+"${more[@]}"})
}
# Whether a run is there as this call would make it, or notes it: finished <name> <seed> <corpus seed> [--write]
finished() {
    options_of "${@:1:3}"
    ${python} -m local.sweep.finished --scores "$(scores_of "${@:1:3}")" \
        --config "${config_prefix}${1%%.*}.yaml" ${4:+"$4"} -- "${call[@]}"
}
# Stages 7 to 9: run <name> <seed> <corpus seed>
run() {
    options_of "$@"
    echo "sweep.sh: $1, seed $2, corpus of seed $3" >&2
    { ./run.sh "${call[@]}" && finished "$@" --write; } \
        || echo "sweep.sh: error: $1, seed $2, corpus of seed $3 failed" >&2
}

# Bash shields what it starts with "&" from Ctrl-C: every run gets a process group, to be ended with.
set -m
stop() {
    local pid
    for pid in $(jobs -p); do kill -- "-${pid}" 2> /dev/null || true; done
    echo "sweep.sh: stopped; start it again to continue" >&2
    exit 130
}
trap stop INT TERM

# Lines of name, seed and corpus seed
all_runs() {
    for corpus_seed in ${corpus_seeds}; do
        for seed in ${seeds}; do
            for name in ${architectures} ${ablations}; do echo "${name} ${seed} ${corpus_seed}"; done
        done
    done
}
mapfile -t runs < <(all_runs)

. ./path.sh
missing=0
others=()
for line in "${runs[@]}"; do
    read -r name seed corpus_seed <<< "${line}"
    state=0
    finished "${name}" "${seed}" "${corpus_seed}" || state=$?
    case "${state}" in
        0) continue;;
        4) missing=$(( missing + 1 ));;
        3) others+=("${name}, seed ${seed}, corpus of seed ${corpus_seed}"); continue;;
        *) echo "sweep.sh: error: ${python} failed, as it says above" >&2; exit 1;;
    esac
    if "${dry_run}"; then
        echo "to run: ${name}, seed ${seed}, corpus of seed ${corpus_seed}"
        continue
    fi
    while [ "$(jobs -pr | wc -l)" -ge "${jobs}" ]; do wait -n || true; done
    prepare "${corpus_seed}"
    run "${name}" "${seed}" "${corpus_seed}" &
done
wait
if "${dry_run}"; then
    echo "missing: ${missing} of ${#runs[@]} runs${others[*]:+; made otherwise: ${#others[@]}}"
    exit 0
fi

failed=(${others[@]+"${others[@]}"})
measure_options=()
if [ -n "${measures}" ]; then
    IFS=, read -ra names <<< "${measures}"
    measure_options=(--measures "${names[@]}")
fi
for corpus_seed in ${corpus_seeds}; do
    directory=${output_dir}
    if [[ ${corpus_seeds} == *" "* ]]; then directory+=/corpus${corpus_seed}; fi
    mkdir -p "${directory}"
    for line in "${runs[@]}"; do
        read -r name seed own_seed <<< "${line}"
        if [ "${own_seed}" != "${corpus_seed}" ]; then continue; fi
        if printf '%s\n' ${others[@]+"${others[@]}"} | grep -qxF "${name}, seed ${seed}, corpus of seed ${corpus_seed}"; then continue; fi
        scores=$(scores_of "${name}" "${seed}" "${corpus_seed}")
        if [ -s "${scores}" ]; then
            printf '%s\t%s\t%s\n' "${name}" "${seed}" "${scores}"
        else
            failed+=("${name}, seed ${seed}, corpus of seed ${corpus_seed}")
        fi
    done > "${directory}/runs.tsv"
    if [ -s "${directory}/runs.tsv" ]; then
        ${python} -m local.sweep.study --runs "${directory}/runs.tsv" --output_dir "${directory}" \
            ${measure_options[@]+"${measure_options[@]}"}
        echo "sweep.sh: ${directory}/study.json has these numbers" >&2
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    printf 'sweep.sh: error: failed: %s\n' "${failed[@]}" >&2
    echo "sweep.sh: start it again to continue with them" >&2
    exit 1
fi
