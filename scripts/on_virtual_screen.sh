#!/usr/bin/env bash
# Runs a command on a screen of its own where there is X (Linux), and as it is elsewhere.
set -euo pipefail
if [ "$(uname -s)" = Linux ]; then
    exec xvfb-run --auto-servernum --server-args "-screen 0 1600x1000x24" "$@"
fi
exec "$@"
