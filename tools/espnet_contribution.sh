#!/usr/bin/env bash
# Puts the recipes into a checkout of ESPnet, as a pull request would bring them.
#
#     tools/espnet_contribution.sh ../espnet
#
# The recipes are copied from here; contrib/espnet has what only ESPnet needs. What ESPnet's recipes share is linked
# or copied from the checkout. A second call replaces what the first wrote. contrib/README.md describes the
# result, and the lines to add by hand.
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "Usage: $0 <checkout of ESPnet>" >&2
    exit 2
fi
asr1=$1/egs2/TEMPLATE/asr1
shared=(cmd.sh conf/slurm.conf conf/queue.conf conf/pbs.conf)  # ESPnet's CI requires the same in all recipes
for name in "${shared[@]}" path.sh db.sh; do
    [ -f "${asr1}/${name}" ] || { echo "$0: error: ${asr1}/${name}: no such file; name a checkout of ESPnet" >&2; exit 1; }
done
checkout=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
template=${checkout}/egs2/TEMPLATE/speechclip1
recipe=${checkout}/egs2/speechclip_plus/speechclip1
recipe3=${checkout}/egs3/speechclip_plus/speechclip

# copy FOLDER TARGET [NAME ...]: what git knows of a folder, or of these names in it
copy() {
    local folder=$1 target=$2
    shift 2
    mkdir -p "${target}"
    (cd "${folder}" && git ls-files -coz --exclude-standard "$@" | tar -c --null -T -) | tar -x -C "${target}"
}

rm -rf "${template}" "${recipe}" "${recipe3}"
copy contrib/espnet "${checkout}"
copy egs2/speechclip_plus "${template}" speechclip.sh evaluate.sh scripts conf/decode.yaml
copy egs2/speechclip_plus "${recipe}" run.sh conf local README.md RESULTS.md
copy egs3/speechclip_plus "${recipe3}" run.py conf README.md
for name in "${shared[@]}"; do
    cp "${checkout}/egs2/TEMPLATE/asr1/${name}" "${template}/${name}"
done
ln -s ../asr1/path.sh ../asr1/db.sh "${template}"
"${template}/setup.sh" "${recipe}"  # links, and copies of what all recipes share
for name in speechclip.sh scripts path.sh cmd.sh db.sh utils local; do
    ln -s "../../../egs2/speechclip_plus/speechclip1/${name}" "${recipe3}/${name}"
done
for name in tuning slurm.conf; do
    ln -sfn "../../../../egs2/speechclip_plus/speechclip1/conf/${name}" "${recipe3}/conf/${name}"
done
# of the links to what stays here, only the text is kept
find "${recipe}" "${recipe3}" -name '*.md' -exec \
    sed -Ezi -e 's/!\[[^]]*\]\((\.\.|results|models)\/[^)]*\)//g' -e 's/\[([^]]*)\]\((\.\.|results|models)\/[^)]*\)/\1/g' {} +

echo "written; in ${checkout}, run 'pre-commit run' to format and 'git status' to list it"
echo "add the lines of contrib/README.md by hand"
