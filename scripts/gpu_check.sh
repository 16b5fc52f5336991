#!/usr/bin/env bash
# On a machine with a GPU and no network: build with what is installed, run the GPU tests, the checkers of memory, races
# and barriers on small problems, and the GPU benchmarks. $OUT (default out/gpu) gets the log and gpu.json: hardware,
# versions, commit, tests and every benchmark's rows. Each part has a time limit, so that it ends in under nine minutes;
# the exit status tells whether all parts went well.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-out/gpu}
mkdir -p "$OUT"
PYTHON=${PYTHON:-python3}
SITE=$(mktemp -d)
trap 'rm -rf "$SITE"' EXIT
export PYTHONUNBUFFERED=1 JADCE_BENCH_JSON="$OUT/gpu.json"
rm -f "$JADCE_BENCH_JSON"
failed=()

part() { # name, seconds, command
  local name=$1 limit=$2 start=$SECONDS status=0
  shift 2
  echo "== $name"
  timeout "$limit" "$@" || status=$?
  [ "$status" -eq 0 ] || failed+=("$name ($status)")
  echo "== $name: status $status, $((SECONDS - start)) s"
}

{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
  part build 120 "$PYTHON" -m pip install -q --no-build-isolation --no-deps --no-compile --target "$SITE" . \
    -Ccmake.define.JADCE_CUDA=ON -Ccmake.define.CMAKE_CUDA_ARCHITECTURES=90
  export PYTHONPATH="$SITE:tests:benchmarks"
  part tests 90 "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_cuda*.py -k "not emulated"
  small="not emulated and (plain or shape0 or 16-800 or odd or batch or graph or settles)"
  for tool in memcheck racecheck synccheck; do
    part "$tool" 35 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_cuda*.py -k "$small"
  done
  part kernels 45 "$PYTHON" benchmarks/bench_cuda_kernels.py
  part detections 90 "$PYTHON" benchmarks/bench_cuda.py
  part network 40 "$PYTHON" benchmarks/bench_cuda_network.py
  part langevin 30 "$PYTHON" benchmarks/bench_langevin.py
  "$PYTHON" scripts/gpu_summary.py "$JADCE_BENCH_JSON" "${failed[@]}"
  echo "failed: ${failed[*]:-nothing}"
  [ ${#failed[@]} -eq 0 ]
} 2>&1 | tee "$OUT/gpu.log"
exit "${PIPESTATUS[0]}"
