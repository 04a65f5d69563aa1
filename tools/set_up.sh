#!/usr/bin/env bash
# Makes the Python environment that the Makefile and the recipe use:
# tools/set_up.sh PYTHON VENV [TORCH] [TORCH_INDEX]
# TORCH: a build of PyTorch's own package index (cpu, cu126, rocm6.4) instead of PyPI's default;
# TORCH_INDEX: another index that has it.
set -euo pipefail

python=$1
venv=$2
torch=${3:-}
torch_index=${4:-https://download.pytorch.org/whl/${torch}}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
min_free_gib=12

fail() { echo "set-up: error: $*" >&2; exit 1; }
say() { echo "set-up: $*"; }

# Shows pip's progress from its log: a line that is rewritten, or one a minute without a terminal.
watch_pip() {
    local log=$1 begin=${SECONDS} now told=-60
    # the pause must not keep this script's output pipe open
    while sleep 1 > /dev/null 2>&1; do
        now=$(grep -E '^ *(Collecting|Downloading|Using cached|Building|Preparing|Installing) ' "${log}" | tail -n 1)
        now=$(cut -c 1-60 <<< "${now#"${now%%[! ]*}"}")
        if [ -t 1 ]; then
            printf '\r\033[K  %s' "$(( SECONDS - begin )) s, $(grep -c '^Collecting ' "${log}") packages: ${now}"
        elif [ $(( SECONDS - told )) -ge 60 ]; then
            told=${SECONDS}
            echo "  $(( SECONDS - begin )) s, $(grep -c '^Collecting ' "${log}") packages: ${now}"
        fi
    done
}

command -v "${python}" > /dev/null \
    || fail "there is no '${python}'. Install Python 3.10 to 3.13, or name one: make PYTHON=/path/to/python3"
version=$("${python}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"${python}" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || fail "'${python}' is Python ${version}, and 3.10 or newer is needed. Name another: make PYTHON=/path/to/python3"
"${python}" -c 'import ensurepip, venv' 2> /dev/null \
    || fail "'${python}' cannot make virtual environments. On Debian or Ubuntu: apt-get install python${version}-venv"

case ${version} in
    3.10|3.11) constraints=constraints/py311.txt;;
    *) constraints=constraints/py313.txt;;
esac

free_gib=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
if [ ! -e "${venv}/.complete" ] && [ "${free_gib}" -lt "${min_free_gib}" ]; then
    say "warning: ${free_gib} GiB free on this disk; PyTorch and the rest may need up to ${min_free_gib} GiB"
fi

if [ -x "${venv}/bin/python" ]; then
    old=$("${venv}/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null || echo broken)
    [ "${old}" = "${version}" ] \
        || fail "${venv} belongs to Python ${old}, but '${python}' is ${version}. Remove it (rm -r ${venv}) or name another: make VENV=.venv-${version}"
else
    say "making ${venv} with Python ${version}"
    "${python}" -m venv "${venv}" \
        || fail "making ${venv} failed. On Debian or Ubuntu: apt-get install python${version}-venv"
fi

probe=$(mktemp -d)
watcher=
unwatch() {
    [ -n "${watcher}" ] || return 0
    kill "${watcher}" 2> /dev/null || true
    wait "${watcher}" 2> /dev/null || true
    watcher=
    if [ -t 1 ]; then printf '\r\033[K'; fi
}
trap 'unwatch; rm -rf "${probe}"' EXIT
"${venv}/bin/python" -m pip download -q --disable-pip-version-check --retries 1 --timeout 20 \
    --no-deps --dest "${probe}" humanfriendly > "${probe}/log" 2>&1 \
    || fail "pip cannot fetch packages: $(tail -n 1 "${probe}/log")
set-up: is the network up? Behind a proxy or a mirror, tell pip (pip config set global.proxy / global.index-url)."

log=${venv}/set_up.log
: > "${log}"
pip_install() {
    "${venv}/bin/python" -m pip install --disable-pip-version-check --progress-bar off -c "${constraints}" "$@" >> "${log}" 2>&1 \
        || { unwatch; tail -n 20 "${log}" >&2
             fail "pip could not install the packages; its last lines are above, the rest is in ${log}. Run make again to continue."; }
}

if [ -n "${torch}" ]; then
    there=$("${venv}/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2> /dev/null || true)
    case ${there} in
        ''|*+"${torch}") ;;
        *) fail "${venv} has PyTorch ${there}, not its ${torch} build: remove it (rm -r ${venv}) or name another environment: make VENV=.venv-${torch}";;
    esac
fi

say "installing speechclip-plus[all] into ${venv}, tested set ${constraints}"
say "the first time this fetches up to 4 GB (mostly PyTorch) and takes several minutes"
say "pip's own output: ${log}"
watch_pip "${log}" &
watcher=$!
# That index has PyTorch only; its dependencies come from PyPI.
if [ -n "${torch}" ]; then pip_install --no-deps --index-url "${torch_index}" torch torchvision torchaudio; fi
pip_install -e '.[all]'
unwatch
"${venv}/bin/python" -c 'import espnet2, open_clip, torch, transformers' > /dev/null \
    || fail "the installed packages cannot be imported; the message stands above. Remove ${venv} and run make again."
touch "${venv}/.complete" ${torch:+"${venv}/.complete-${torch}"}
say "ready: ${venv} (Python ${version})"
