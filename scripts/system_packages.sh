#!/usr/bin/env bash
# Makes sure that Qt and OpenGL find their system libraries: system_packages.sh window|test
# As root with apt it installs what is missing; else it names it in one line.
set -euo pipefail
purpose=$1
[ "$(uname -s)" = Linux ] || exit 0

# Read once: a pipe into "grep -q" breaks at the first match, which pipefail would take for a missing library.
libraries=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null || true)
missing=()
need() { # need PACKAGE LIBRARY
    [[ $libraries == *$'\t'"$2 "* ]] || missing+=("$1")
}
need libgl1 libGL.so.1
need libegl1 libEGL.so.1
need libdbus-1-3 libdbus-1.so.3
need libxkbcommon-x11-0 libxkbcommon-x11.so.0
need libxcb-cursor0 libxcb-cursor.so.0
need libxcb-icccm4 libxcb-icccm.so.4
need libxcb-image0 libxcb-image.so.0
need libxcb-keysyms1 libxcb-keysyms.so.1
need libxcb-randr0 libxcb-randr.so.0
need libxcb-render-util0 libxcb-render-util.so.0
need libxcb-xinerama0 libxcb-xinerama.so.0
need libxcb-shape0 libxcb-shape.so.0
if [ "$purpose" = test ]; then command -v xvfb-run >/dev/null || missing+=(xvfb); fi

if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
    else
        echo "Missing system packages: ${missing[*]}. Install them, for example with: sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
fi
if [ "$purpose" = window ] && [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    echo "There is no screen (DISPLAY is not set): log in at a desktop, or try: xvfb-run make app" >&2
    exit 1
fi
