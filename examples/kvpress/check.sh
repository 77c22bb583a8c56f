#!/bin/sh
# The press held against a trace of the engine: bash examples/kvpress/check.sh [VENV]
# VENV (default .venv-kvpress) is made if it is not there: kvpress wants another transformers.
set -eu
cd "$(dirname "$0")/../.."
venv="${1:-.venv-kvpress}"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install -q -r examples/kvpress/requirements.txt
run="$(mktemp -d)/run.safetensors"
"${PYTHON:-.venv/bin/python}" -m dcp trace --file README.md --truncate right --new-tokens 0 --out "$run" >&2
"$venv/bin/python" examples/kvpress/check.py "$run" assets/models/dcp-mini
