#!/usr/bin/env bash
# Stage 1: data/<corpus>_{train,dev,test} from a corpus as it is published, or generated (mini).
set -e
set -u
set -o pipefail

corpus=mini
seed=0
nj=2
python=python3
mini_root=downloads/mini
mini_opts=            # options of local/mini/prepare.py, e.g. "--teacher_steps 100"

help_message=$(cat << 'EOF'
Usage: local/data.sh [--corpus mini] [--seed 0] [--nj 2] [--python python3]
                     [--mini_root downloads/mini] [--mini_opts "options of local.mini.prepare"]

Makes data/<corpus>_train, data/<corpus>_dev and data/<corpus>_test; what is finished is kept.
EOF
)

. utils/parse_options.sh
if [ -e path.sh ]; then . ./path.sh; fi

case "${corpus}" in
    mini)
        # shellcheck disable=SC2086
        ${python} -m local.mini.prepare \
            --root "${mini_root}" --data_dir data --seed "${seed}" --nj "${nj}" ${mini_opts};;
    *)
        if [ ! -e "local/data_${corpus}.sh" ]; then
            echo "local/data.sh: error: corpus ${corpus} is unknown: there is no local/data_${corpus}.sh" >&2
            exit 2
        fi
        "local/data_${corpus}.sh" --nj "${nj}" --python "${python}";;
esac
