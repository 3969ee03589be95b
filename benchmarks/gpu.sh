#!/usr/bin/env bash
# All that waits for a GPU, in one command, with random weights and no download:
#
#     bash benchmarks/gpu.sh [FOLDER]
#
# QLoRA in the shapes of Llama-2-7B, Mistral-7B and GPT-2 beside TRL's defaults, with the share of
# the card's rate and the memory that `fabula plan` says (train.py); what `fabula plan` recommends for
# this card; writing and scoring at 7B (generation.py); and a short QLoRA run of the embedded model.
# About ten minutes on an H200. What one step prints is in FOLDER; one that fails stops no other.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/gpu}
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"
failed=0

step() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2
    shift 2
    echo "== $name"
    if ! timeout "$seconds" "$@" 2>"$out/$name.err" | tee "$out/$name.txt"; then
        echo "$name failed: $(tail -n 1 "$out/$name.err")"
        failed=1
    fi
}

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "No GPU that PyTorch sees; nothing is measured." >&2
    exit 2
fi
step train 420 "$python" benchmarks/train.py --json "$out/train.json"
step generation 120 "$python" benchmarks/generation.py
step plan 60 "$python" -m fabula plan gpt2 gpt2-xl llama-2-7b mistral-7b llama-2-13b Qwen3-8B
step embedded 180 "$python" -m fabula train recipes/embedded-qlora.yaml --runs "$out/runs" --force \
    --steps 20
exit "$failed"
