#!/usr/bin/env bash
# Sourced by a script that has set its options as variables: then "--foo-bar x" or "--foo_bar x"
# sets ${foo_bar}. Only variables that exist can be set, and a variable that holds true or false
# takes nothing else. "--config file" sources a file of settings, "--help" prints ${help_message}.
# Parsing stops at "--" or at the first argument that is not an option.

# What may have been meant by --$1, in brackets; nothing where no Python can tell.
_meant() {
    local known
    mapfile -t known < <(scripts/utils/print_options.sh "${BASH_SOURCE[2]:-}" 2> /dev/null | sed -n 's/^ *--\([a-z_]*\).*/\1/p')
    # shellcheck disable=SC1091
    ( . ./path.sh && ${python:-python3} -m espnet_plugin.bin.recipe nearest "$1" "${known[@]}" ) 2> /dev/null || true
}

while [ $# -gt 0 ]; do
    case "$1" in
        --help|-h)
            printf '%s\n' "${help_message:-No help for $0.}"
            exit 0;;
        --)
            shift
            break;;
        --*=*)
            echo "$0: error: write '${1%%=*} ${1#*=}' instead of '$1'" >&2
            exit 2;;
        --*)
            _name=${1#--}
            _name=${_name//-/_}
            if ! [[ ${_name} =~ ^[A-Za-z][A-Za-z0-9_]*$ ]]; then
                echo "$0: error: '$1' is not an option" >&2
                exit 2
            elif [ $# -lt 2 ]; then
                echo "$0: error: '$1' needs a value" >&2
                exit 2
            elif [ "${_name}" = config ] && [ -z "${config+set}" ]; then
                [ -r "$2" ] || { echo "$0: error: --config $2: no such file" >&2; exit 2; }
                # shellcheck disable=SC1090
                . "$(dirname "$2")/${2##*/}"  # with a slash, or the PATH is searched first
            elif [ -z "${!_name+set}" ]; then
                echo "$0: error: unknown option '$1'$(_meant "${_name}"); see $0 --help" >&2
                exit 2
            else
                if [[ ${!_name} = true || ${!_name} = false ]] && ! [[ $2 = true || $2 = false ]]; then
                    echo "$0: error: '$1' takes true or false, not '$2'" >&2
                    exit 2
                fi
                printf -v "${_name}" '%s' "$2"
            fi
            shift 2;;
        *)
            break;;
    esac
done
unset _name
unset -f _meant
