#!/usr/bin/env bash
# Makes a recipe from this template: egs2/TEMPLATE/speechclip1/setup.sh egs2/<corpus>/speechclip1
set -e
set -u
set -o pipefail

if [ $# -ne 1 ]; then
    echo "Usage: $0 <target-dir>" >&2
    exit 2
fi
dir=$1
mkdir -p "${dir}"
if [ ! -d "${dir}/../../TEMPLATE" ]; then
    echo "$0: error: ${dir}/../../TEMPLATE is missing; the target has to be egs2/<corpus>/speechclip1" >&2
    exit 1
fi

# copies of what a recipe changes
for name in cmd.sh conf local; do
    cp -r "${dir}/../../TEMPLATE/speechclip1/${name}" "${dir}"
done
for name in speechclip.sh evaluate.sh scripts; do
    ln -sfn "../../TEMPLATE/speechclip1/${name}" "${dir}/${name}"
done
for name in db.sh path.sh pyscripts steps utils; do
    ln -sfn "../../TEMPLATE/asr1/${name}" "${dir}/${name}"
done
echo "Created: ${dir}"
