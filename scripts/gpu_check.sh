#!/usr/bin/env bash
# On a machine with a GPU and no network: build with what is installed, run the GPU tests, the checkers of memory, races
# and barriers, and the GPU benchmarks. Results go to $OUT (default out/gpu) as one log and one JSON. Ends in a few minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-out/gpu}
mkdir -p "$OUT"
PYTHON=${PYTHON:-python3}
SITE=$(mktemp -d)
trap 'rm -rf "$SITE"' EXIT
export PYTHONUNBUFFERED=1

"$PYTHON" -m pip install -q --no-build-isolation --no-deps --no-compile --target "$SITE" . -Ccmake.define.JADCE_CUDA=ON \
  -Ccmake.define.CMAKE_CUDA_ARCHITECTURES=90
export PYTHONPATH="$SITE:tests:benchmarks"
{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
  "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_cuda*.py
  for tool in memcheck racecheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_cuda*.py -k "plain or shape0 or 16-800 or assign"
  done
  for benchmark in bench_cuda bench_cuda_kernels bench_langevin; do
    JADCE_BENCH_JSON="$OUT/gpu.json" "$PYTHON" "benchmarks/$benchmark.py"
  done
} 2>&1 | tee "$OUT/gpu.log"
