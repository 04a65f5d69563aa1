#!/usr/bin/env bash
# Runs tests/gpu and then benchmarks/gpu.py on one GPU, in half an hour. The results are in
# exp/gpu/gpu.md and gpu.json.
#
#     bash benchmarks/gpu.sh [--python .venv/bin/python] [--output exp/gpu]
#     bash benchmarks/gpu.sh --device cpu --tiny     # a trial on any machine, in minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
device=cuda
options=()
while [ $# -gt 0 ]; do
    case $1 in
        --python) python=$2; shift 2 ;;
        --device) device=$2; shift 2 ;;
        --tiny) options+=(--tiny --steps 1); shift ;;
        --output|--steps) options+=("$1" "$2"); shift 2 ;;
        *) echo "gpu.sh: unknown option $1" >&2; exit 2 ;;
    esac
done

export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
TEST_DEVICE=$device "$python" -m pytest tests/gpu
"$python" -m benchmarks.gpu --device "$device" "${options[@]}"
