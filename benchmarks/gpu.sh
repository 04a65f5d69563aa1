#!/usr/bin/env bash
# Runs tests/gpu, then times a step of the base and of the large configuration on one GPU. The table
# is exp/gpu/gpu.md.
#
#     bash benchmarks/gpu.sh [PYTHON]                            # default .venv/bin/python
#     TEST_DEVICE=cpu bash benchmarks/gpu.sh PYTHON --quick      # a trial without a GPU, in minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${1:-.venv/bin/python}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} TEST_DEVICE=${TEST_DEVICE:-cuda}
mkdir -p exp/gpu
"$python" -m pytest tests/gpu
"$python" -m benchmarks.step "${@:2}" | tee exp/gpu/gpu.md
