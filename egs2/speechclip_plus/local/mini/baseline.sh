#!/usr/bin/env bash
# The usual pipeline as a baseline: trains a small CTC recogniser on mini's recordings, lets CLIP's
# text tower read what it hears, and writes the results again with it. Options are those of run.sh.
set -e
set -u
set -o pipefail

help_message="Usage: local/mini/baseline.sh [--corpus mini|mini_hard|mini_words] [options of run.sh], after stages 1 to 8; about three minutes"
case "${1:-}" in --help|-h) echo "${help_message}"; exit 0;; esac
corpus=mini
if [ "${1:-}" = --corpus ]; then corpus=$2; shift 2; fi
. ./path.sh
output_dir=exp/${corpus}_recogniser
test_dirs=()
for name in dev repeats plain test; do  # mini_words has all; the last one written shows that all are
    if [ -d "dump/raw/${corpus}_${name}" ]; then test_dirs+=("dump/raw/${corpus}_${name}"); fi
done
if ! [ -s "${output_dir}/${corpus}_test/text" ] || [ "${output_dir}/${corpus}_test/text" -ot "dump/raw/${corpus}_train/speech_states.scp" ]; then
    python3 -m local.mini.recogniser --output_dir "${output_dir}" --encoder "downloads/${corpus}/hubert" \
        --train_dir "dump/raw/${corpus}_train" --test_dirs "${test_dirs[@]}"
fi
./run.sh --corpus "${corpus}" --stage 9 --stop_stage 9 --transcripts "${output_dir}" "$@"
