#!/usr/bin/env bash
# Makes the Python environment that the Makefile and the recipe use:
# tools/set_up.sh PYTHON VENV [TORCH] [TORCH_INDEX]
# TORCH: a build of PyTorch's own package index (cpu, cu126, rocm6.4) instead of PyPI's default;
# TORCH_INDEX: another index that has it.
# pip brings uv, which installs the rest. Where there is no uv for the machine, pip does it all.
set -euo pipefail

python=$1
venv=$2
torch=${3:-}
torch_index=${4:-https://download.pytorch.org/whl/${torch}}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
min_free_gib=12

fail() { echo "set-up: error: $*" >&2; exit 1; }
say() { echo "set-up: $*"; }

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

if [ -n "${torch}" ]; then
    there=$("${venv}/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2> /dev/null || true)
    case ${there} in
        ''|*+"${torch}") ;;
        *) fail "${venv} has PyTorch ${there}, not its ${torch} build: remove it (rm -r ${venv}) or name another environment: make VENV=.venv-${torch}";;
    esac
fi

say "installing speechclip-plus[all] into ${venv}, tested set ${constraints}"
say "the first time this fetches up to 4 GB (mostly PyTorch) and takes several minutes"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip=("${venv}/bin/python" -m pip)
if "${pip[@]}" install -q --retries 1 --timeout 20 -c "${constraints}" uv; then
    installer=("${venv}/bin/uv" pip install --python "${venv}/bin/python")
    # uv does not read what pip was told
    export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$("${pip[@]}" config get global.index-url 2> /dev/null || true)}}
    [ -n "${UV_DEFAULT_INDEX}" ] || unset UV_DEFAULT_INDEX
    export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
else
    say "pip cannot fetch uv: it installs everything itself, which takes longer"
    installer=("${pip[@]}" install --progress-bar off)
fi
# without uv's list of all packages
install() {
    "${installer[@]}" -c "${constraints}" "$@" 2>&1 | sed -u '/^ [-+~] /d' \
        || fail "the packages cannot be installed; the reason stands above. Run make again to continue.
set-up: is the network up? Behind a proxy, set https_proxy. Name a mirror to pip: pip config set global.index-url ..."
}
# That index has PyTorch only; its dependencies come from PyPI.
if [ -n "${torch}" ]; then install --no-deps --index-url "${torch_index}" torch torchvision torchaudio; fi
install -e '.[all]'
"${venv}/bin/python" -c 'import espnet2, open_clip, torch, transformers' > /dev/null \
    || fail "the installed packages cannot be imported; the message stands above. Remove ${venv} and run make again."
touch "${venv}/.complete" ${torch:+"${venv}/.complete-${torch}"}
say "ready: ${venv} (Python ${version})"
