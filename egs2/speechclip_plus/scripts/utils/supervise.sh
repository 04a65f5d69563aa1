#!/usr/bin/env bash
# Sourced by a script before anything else, with its arguments: from there on the script runs in a
# process group of its own. However the process that was started ends (a signal, Ctrl-C, kill -9),
# all of that group ends with it: jobs, their workers, and what they have started.

if [ "${SUPERVISED_BY:-}" != "${PPID}" ]; then
    set -m
    # reads the group, and then nothing until nobody can write any more: this process is gone
    # shellcheck disable=SC2016
    exec {_alive}> >(exec "${BASH}" -c '
        trap "" TERM INT HUP
        read -r group
        read -r _
        kill -TERM -- "-${group}"
        for _ in {1..100}; do
            kill -0 -- "-${group}" || exit 0
            sleep 0.1
        done
        kill -KILL -- "-${group}"' > /dev/null 2>&1)
    _watcher=$!
    SUPERVISED_BY=$$ "${BASH}" "$0" "$@" < /dev/null {_alive}>&- &
    _group=$!
    echo "${_group}" >&"${_alive}"
    # shellcheck disable=SC2329
    _stop() {
        trap '' TERM INT HUP
        exec {_alive}>&-
        wait "${_watcher}" || true
        exit "$1"
    }
    trap '_stop 143' TERM
    trap '_stop 130' INT
    trap '_stop 129' HUP
    wait "${_group}" && exit 0
    exit
fi
