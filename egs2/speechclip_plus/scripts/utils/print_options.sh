#!/usr/bin/env bash
# Prints the options of a script for its help: the variables that it sets before help_message, each
# with its comment and its default, below the comments that begin their groups.
awk '
    /^help_message=/ {exit}
    /^# / {group = substr($0, 3); next}
    match($0, /^[a-z][a-z_]*=/) {
        if (group != "") {print "\n" group; group = ""}
        option = "--" substr($0, 1, RLENGTH - 1)
        value = substr($0, RLENGTH + 1)
        text = ""
        if (match(value, / +# /)) {
            text = substr(value, RSTART + RLENGTH)
            value = substr(value, 1, RSTART - 1)
        }
        gsub(/^"|"$/, "", value)
        printf "    %-22s %s%s\n", option, text, value == "" ? "" : " (default: " value ")"
        next
    }
    {group = ""}
' "$1"
