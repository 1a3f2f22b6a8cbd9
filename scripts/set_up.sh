#!/usr/bin/env bash
# Creates a virtual environment and installs the package into it: set_up.sh PYTHON VENV EXTRA
# (run = no extra; lowest = the extra test, with the lowest versions that pyproject.toml allows).
set -euo pipefail
python=$1 venv=$2 extra=$3

say_and_stop() { echo "$1" >&2; exit 1; }
command -v "$python" >/dev/null ||
    say_and_stop "There is no '$python' here. Install Python 3.11 or later, or name yours: make PYTHON=python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    say_and_stop "Python 3.11 or later is needed, '$python' is older. Try: make PYTHON=python3.12"
# Debian's Python without its venv package leaves an environment without pip: the next run must not take it for whole.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv "$venv" >/dev/null || {
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        say_and_stop "Missing system package: $package. Install it, for example with: apt-get install $package"
    }
fi

# SAM2 comes as source and asks for PyTorch at build time: with PyTorch already here it is not fetched a second time.
# Its CUDA extension is for video only.
export SAM2_BUILD_CUDA=0
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install --upgrade pip setuptools wheel
if [ "$extra" = lowest ]; then
    pip install uv # pip knows newest versions only
    lowest() {
        "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --resolution lowest-direct "$@"
    }
    lowest 'torch>=2.9' 'torchvision>=0.24' # as the extra test wants them
    lowest --no-build-isolation-package sam2 -e ".[test]"
else
    pip install 'torch>=2.6' 'torchvision>=0.21'
    pip install --no-build-isolation --no-deps 'sam2>=1.1,<2'
    if [ "$extra" = run ]; then pip install -e .; else pip install -e ".[$extra]"; fi
fi
touch "$venv/.with-$extra"
