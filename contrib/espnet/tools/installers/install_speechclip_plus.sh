#!/usr/bin/env bash
# SpeechCLIP+'s task and model, for egs2/speechclip_plus and egs3/speechclip_plus
set -euo pipefail

# No package index has the package yet, so name a checkout or a wheel.
if [ $# -ne 1 ]; then
    echo "Usage: $0 <checkout or wheel with extras>, e.g. $0 '../../speechclip-plus[recipe,mini]'" >&2
    exit 2
fi
python3 -m pip install "$1"
