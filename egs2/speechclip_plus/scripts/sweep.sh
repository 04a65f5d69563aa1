#!/usr/bin/env bash
# Trains and evaluates several architectures with several seeds and compares them: run from the
# recipe's folder as scripts/sweep.sh. What is finished is kept, so it can be stopped and started.
set -e
set -u
set -o pipefail

corpus=mini
architectures="parallel cascaded cascaded_plus hybrid hybrid_plus"
ablations=none         # none, all, or names from the list below, separated by spaces
seeds="0 1 2 3 4"
new_corpus=false       # mini: every seed makes its own corpus and teachers, as run.sh --seed does
config_prefix=         # empty: conf/tuning/mini_ for mini, conf/tuning/<corpus>_base_ otherwise
output_dir=            # empty: exp/sweep_<corpus>
jobs=1                 # runs at the same time, on one corpus
python=python3         # Python that runs everything
run_args=              # further options of run.sh for every run, e.g. "--num_threads 2"
dry_run=false          # only say what would be run

help_message=$(cat << 'EOT'
Usage: scripts/sweep.sh [--corpus mini] [--architectures "parallel cascaded ..."] [--seeds "0 1 2 3 4"]
                        [--ablations none|all|"<name> ..."] [--new_corpus false] [--output_dir exp/sweep_mini]
                        [--config_prefix conf/tuning/mini_] [--jobs 1] [--python python3] [--run_args "..."]
                        [--dry_run false]

Trains every architecture with every seed and writes SWEEP.md, sweep.json and figures: means with
standard deviations, the paper's claims with paired tests over pictures and over seeds, ablations.

--jobs runs so many at the same time; give each its share of the processors with --run_args "--num_threads 1".

By default all runs share one corpus and its teachers, those of the first seed, and the seeds differ
in the training only, so that every difference is paired. With --new_corpus true each seed has its own.

Ablations, each of the architecture it names:
  hybrid_plus.no_quantity_loss        weight of the quantity loss 0
  hybrid_plus.norm_over_padding       keyword batch norm over the padded slots too
  hybrid_plus.temperature_0.1         quantizer's temperature fixed, 0.1 ...
  hybrid_plus.temperature_0.05        ... 0.05
  hybrid_plus.temperature_learned     ... or learned
  hybrid_plus.target_subwords         as many keywords as the caption has sub-words
  hybrid_plus.frames_per_keyword_10   a keyword for every 200 ms
  hybrid_plus.sort_window_1           batches shuffled uniformly, not sorted by length within 8
  hybrid.queries_4, hybrid.queries_16 another number of CLS queries than 8
  hybrid_plus_annealed.hard_choice    one part left out: the nearest sub-word in training too, ...
  hybrid_plus_annealed.no_merging     ... neighbours of one sub-word stay two keywords
  hybrid_plus_annealed.frames_per_keyword_20  ... the paper's rate
  hybrid_plus_annealed.no_bank        ... compared with the batch only
  hybrid_plus_annealed.no_repulsion   ... nothing keeps an utterance's keywords apart
  hybrid_plus_annealed.no_neighbours  ... the per-frame network sees one frame
EOT
)

. utils/parse_options.sh
[[ ${jobs} =~ ^[1-9][0-9]*$ ]] || { echo "sweep.sh: error: --jobs must be a positive integer, got ${jobs}" >&2; exit 2; }
if "${new_corpus}" && [ "${jobs}" -gt 1 ]; then
    echo "sweep.sh: error: --new_corpus true makes one corpus after the other in the same place: --jobs must be 1" >&2
    exit 2
fi
[ $# -eq 0 ] || { echo "sweep.sh: error: no positional arguments are taken: $*" >&2; exit 2; }
[ -x ./run.sh ] || { echo "sweep.sh: error: run it from the recipe's folder: scripts/sweep.sh" >&2; exit 2; }
[ -n "${seeds}" ] && [ -n "${architectures}" ] || { echo "sweep.sh: error: --seeds and --architectures must not be empty" >&2; exit 2; }
output_dir=${output_dir:-exp/sweep_${corpus}}
if [ -z "${config_prefix}" ]; then
    case "${corpus}" in mini) config_prefix=conf/tuning/mini_;; *) config_prefix=conf/tuning/${corpus}_base_;; esac
fi

all_ablations="hybrid_plus.no_quantity_loss hybrid_plus.norm_over_padding hybrid_plus.temperature_0.1
    hybrid_plus.temperature_0.05 hybrid_plus.temperature_learned hybrid_plus.target_subwords
    hybrid_plus.frames_per_keyword_10 hybrid_plus.sort_window_1 hybrid.queries_4 hybrid.queries_16
    hybrid_plus_annealed.hard_choice hybrid_plus_annealed.no_merging
    hybrid_plus_annealed.frames_per_keyword_20 hybrid_plus_annealed.no_bank
    hybrid_plus_annealed.no_repulsion hybrid_plus_annealed.no_neighbours"
# Options of training that make an ablation: ablation_args <name>
ablation_args() {
    case "$1" in
        *.no_quantity_loss) echo "--model_conf quantity_weight=0.0";;
        *.norm_over_padding) echo "--model_conf compatibility.norm_over_padding=true";;
        *.temperature_*) echo "--quantizer_conf temperature=${1##*.temperature_}";;
        *.target_subwords) echo "--keyword_extractor_conf target=subwords";;
        *.frames_per_keyword_*) echo "--keyword_extractor_conf frames_per_keyword=${1##*_}";;
        *.sort_window_*) echo "--sort_window ${1##*_}";;
        *.hard_choice) echo "--quantizer_conf hard=true";;
        *.no_merging) echo "--model_conf merge_repeats=false";;
        *.no_bank) echo "--model_conf bank_weight=0.0";;
        *.no_repulsion) echo "--model_conf repulsion_weight=0.0";;
        *.no_neighbours) echo "--attention_conf feed_forward_width=1";;
        *.queries_*) echo "--keyword_extractor_conf num_keywords=${1##*_}";;
        *) echo "sweep.sh: error: ablation $1 is unknown; see scripts/sweep.sh --help" >&2; return 2;;
    esac
}
case "${ablations}" in
    none) ablations=;;
    all) ablations=${all_ablations};;
esac
for name in ${ablations}; do ablation_args "${name}" > /dev/null; done
for name in ${architectures} ${ablations}; do
    file=${config_prefix}${name%%.*}.yaml
    [ -r "${file}" ] || { echo "sweep.sh: error: ${file} is missing; set --config_prefix" >&2; exit 2; }
done

scores_of() { echo "exp/speechclip_sweep_${corpus}_$1_seed$2/inference_sweep/scores.json"; }
read -ra more <<< "--python ${python} ${run_args}"
prepared=
# Stages 1 to 6, once per corpus.
prepare() {
    local corpus_seed=${seeds%% *}
    if "${new_corpus}"; then corpus_seed=$1; fi
    if [ "${prepared}" != "${corpus_seed}" ]; then
        echo "sweep.sh: data of seed ${corpus_seed}" >&2
        ./run.sh --corpus "${corpus}" --seed "${corpus_seed}" --stop_stage 6 ${more[@]+"${more[@]}"}
        prepared=${corpus_seed}
    fi
}

# Stages 7 to 9: run <name> <seed>
run() {
    local options=()
    if [[ $1 == *.* ]]; then options=(--speechclip_args "$(ablation_args "$1")"); fi
    echo "sweep.sh: $1, seed $2" >&2
    ./run.sh --corpus "${corpus}" --seed "$2" --stage 7 --stop_stage 9 \
        --speechclip_config "${config_prefix}${1%%.*}.yaml" \
        --speechclip_tag "sweep_${corpus}_$1_seed$2" --inference_tag sweep --eval_valid_set false \
        ${options[@]+"${options[@]}"} ${more[@]+"${more[@]}"} \
        || echo "sweep.sh: error: $1, seed $2 failed" >&2
}

# Bash shields what it starts with "&" from Ctrl-C: every run gets a process group, to be ended with.
set -m
stop() {
    local pid
    for pid in $(jobs -p); do kill -- "-${pid}" 2> /dev/null || true; done
    echo "sweep.sh: stopped; start it again to go on" >&2
    exit 130
}
trap stop INT TERM

total=0
missing=0
for seed in ${seeds}; do
    for name in ${architectures} ${ablations}; do
        total=$(( total + 1 ))
        if [ -s "$(scores_of "${name}" "${seed}")" ]; then continue; fi
        missing=$(( missing + 1 ))
        if "${dry_run}"; then
            echo "to run: ${name}, seed ${seed}"
            continue
        fi
        while [ "$(jobs -pr | wc -l)" -ge "${jobs}" ]; do wait -n || true; done
        prepare "${seed}"
        run "${name}" "${seed}" &
    done
done
wait
if "${dry_run}"; then
    echo "${missing} of ${total} runs are missing"
    exit 0
fi

failed=()
list=
for seed in ${seeds}; do
    for name in ${architectures} ${ablations}; do
        scores=$(scores_of "${name}" "${seed}")
        if [ -s "${scores}" ]; then
            list+="${name}"$'\t'"${seed}"$'\t'"${scores}"$'\n'
        else
            failed+=("${name}, seed ${seed}")
        fi
    done
done
mkdir -p "${output_dir}"
printf '%s' "${list}" > "${output_dir}/runs.tsv"
if [ -n "${list}" ]; then
    . ./path.sh
    ${python} -m espnet_plugin.bin.show_sweep --runs "${output_dir}/runs.tsv" --output_dir "${output_dir}"
    echo "sweep.sh: ${output_dir}/{SWEEP.md,sweep.json}" >&2
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'sweep.sh: error: failed: %s\n' "${failed[@]}" >&2
    echo "sweep.sh: start it again to go on with them" >&2
    exit 1
fi
