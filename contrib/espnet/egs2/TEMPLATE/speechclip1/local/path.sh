#!/usr/bin/env bash
# captions and file names are UTF-8, whatever LC_ALL says
export PYTHONUTF8=1
