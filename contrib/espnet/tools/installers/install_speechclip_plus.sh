#!/usr/bin/env bash
# SpeechCLIP+'s task and model, for egs2/speechclip_plus and egs3/speechclip_plus
set -euo pipefail

if [ $# -gt 1 ]; then
    echo "Usage: $0 [what pip shall install instead, e.g. a folder: '../speechclip[recipe,mini]']"
    exit 1
fi
python3 -m pip install "${1:-speechclip-plus[recipe,mini]}"
