#!/usr/bin/env bash
# captions and file names are UTF-8, with any LC_ALL
export PYTHONUTF8=1
