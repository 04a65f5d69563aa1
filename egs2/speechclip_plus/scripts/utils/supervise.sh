#!/usr/bin/env bash
# Sourced by a script before anything else, with its arguments: from there on the script runs in a
# process group of its own, and a stop of the script that was started (a signal, Ctrl-C) ends all of
# that group: jobs, their workers, and what they have started.
# ${SUPERVISED_BY} is the process that was started; supervisor_is_there fails once that is gone.

supervisor_is_there() { kill -0 "${SUPERVISED_BY}" 2> /dev/null; }

if [ "${SUPERVISED_BY:-}" != "${PPID}" ]; then
    set -m
    SUPERVISED_BY=$$ "${BASH}" "$0" "$@" < /dev/null &
    _group=$!
    # shellcheck disable=SC2329
    _stop() {
        trap '' TERM INT HUP
        kill -TERM -- "-${_group}" 2> /dev/null || true
        for _ in {1..100}; do
            kill -0 -- "-${_group}" 2> /dev/null || exit "$1"
            sleep 0.1
        done
        kill -KILL -- "-${_group}" 2> /dev/null || true
        exit "$1"
    }
    trap '_stop 143' TERM
    trap '_stop 130' INT
    trap '_stop 129' HUP
    wait "${_group}" && exit 0
    exit
fi
