#!/usr/bin/env bash
# Sourced by the recipe and by every job: finds Python and the packages: nothing needs to be
# activated. In this order: an ESPnet checkout around this folder (or ${MAIN_ROOT}), a
# python3 on the PATH that has ESPnet, the project's .venv ("make env" in the project's root makes it).

_here=$(pwd -P)
_root=$(cd "${_here}/../.." && pwd -P)

if [ -z "${MAIN_ROOT:-}" ]; then
    # the folder itself, as it was entered, first: a recipe linked into a checkout belongs to it
    for _start in "${PWD}" "${_here}"; do
        _walk=${_start}
        while [ -n "${_walk}" ]; do
            if [ -e "${_walk}/tools/activate_python.sh" ]; then
                MAIN_ROOT=${_walk}
                break 2
            fi
            _walk=${_walk%/*}
        done
    done
fi

if [ -n "${MAIN_ROOT:-}" ] && [ -e "${MAIN_ROOT}/tools/activate_python.sh" ]; then
    export MAIN_ROOT
    # these scripts were not written for "set -u"
    _flags=$-
    set +u
    # shellcheck disable=SC1091
    . "${MAIN_ROOT}/tools/activate_python.sh"
    # shellcheck disable=SC1091
    if [ -e "${MAIN_ROOT}/tools/extra_path.sh" ]; then . "${MAIN_ROOT}/tools/extra_path.sh"; fi
    case ${_flags} in *u*) set -u;; esac
    export PYTHONPATH=${MAIN_ROOT}${PYTHONPATH:+:${PYTHONPATH}}
elif [ -x "${_root}/.venv/bin/python3" ] && ! python3 -c \
    'import importlib.util, sys; sys.exit(importlib.util.find_spec("espnet2") is None)' 2> /dev/null; then
    export PATH=${_root}/.venv/bin:${PATH}
fi

export PATH=${_here}/utils:${PATH}
export LC_ALL=C
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONIOENCODING=UTF-8
export PYTHONUTF8=1
# glibc hands large arrays back to the system at once, and gets them again, page by page, in the next
# step: a fourteenth of a full-size step on a CPU
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-8000000000}
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-32000000000}
# interfaces over which nodes cannot talk to each other
export NCCL_SOCKET_IFNAME="^lo,docker,virbr,vmnet,vboxnet"
# the package next to this recipe, installed or not
export PYTHONPATH=${_root}${PYTHONPATH:+:${PYTHONPATH}}

if [ -e local/path.sh ]; then
    # shellcheck disable=SC1091
    . local/path.sh
fi
unset _here _root _start _walk _flags
