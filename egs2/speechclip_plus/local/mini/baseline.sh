#!/usr/bin/env bash
# The usual pipeline as a baseline: trains a small CTC recogniser on mini's recordings, lets CLIP's
# text tower read what it hears, and writes the results again with it. Options are those of run.sh.
set -e
set -u
set -o pipefail

help_message="Usage: local/mini/baseline.sh [options of run.sh], after stages 1 to 8; about three minutes"
case "${1:-}" in --help|-h) echo "${help_message}"; exit 0;; esac
. ./path.sh
output_dir=exp/mini_recogniser
if ! [ -s "${output_dir}/mini_test/text" ] || [ "${output_dir}/mini_test/text" -ot dump/raw/mini_train/speech_states.scp ]; then
    python3 -m local.mini.recogniser --output_dir "${output_dir}" --test_dirs dump/raw/mini_dev dump/raw/mini_test
fi
./run.sh --corpus mini --stage 9 --stop_stage 9 --transcripts "${output_dir}" "$@"
