#!/usr/bin/env bash
# Creates a virtual environment and installs the package into it: set_up.sh PYTHON VENV EXTRA (run = no extra).
set -euo pipefail
python=$1 venv=$2 extra=$3

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "Python 3.11 or later is needed, '$python' is older. Try: make PYTHON=python3.12" >&2; exit 1; }
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" ||
        { echo "Missing system package: python3-venv. Install it, for example with: apt-get install python3-venv" >&2; exit 1; }
fi

# SAM2 comes as source and asks for PyTorch at build time: with PyTorch already here it is not fetched a second time.
# Its CUDA extension is for video only.
export SAM2_BUILD_CUDA=0
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install --upgrade pip setuptools wheel
pip install 'torch>=2.5.1' 'torchvision>=0.20.1'
pip install --no-build-isolation --no-deps 'sam2>=1.1,<2'
if [ "$extra" = run ]; then pip install -e .; else pip install -e ".[$extra]"; fi
touch "$venv/.with-$extra"
