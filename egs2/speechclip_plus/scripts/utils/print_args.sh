#!/usr/bin/env bash
# Prints its arguments, quoted so that they can be pasted into a shell.
printf '%q ' "$@"
echo
