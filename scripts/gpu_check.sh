#!/usr/bin/env bash
# On a machine with a GPU and no network: build with what is installed, run the GPU tests, the checkers of memory, races
# and barriers on small problems, and the GPU benchmarks. $OUT (default out/gpu) gets the log and gpu.json: hardware,
# versions, commit, tests and every benchmark's rows. Each part has a time limit, so that it ends in under nine minutes;
# the exit status tells whether all parts went well. A failed build ends it.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-out/gpu}
mkdir -p "$OUT"
PYTHON=${PYTHON:-python3}
SITE=$(mktemp -d)
trap 'rm -rf "$SITE"' EXIT
export PATH="$PATH:/usr/local/cuda/bin" CMAKE_BUILD_PARALLEL_LEVEL=16  # where ninja is not found
export PYTHONUNBUFFERED=1 JADCE_BENCH_JSON="$OUT/gpu.json"
rm -f "$JADCE_BENCH_JSON"
failed=()

part() { # name, seconds, command
  local name=$1 limit=$2 start=$SECONDS status=0 left=$((510 - SECONDS))
  shift 2
  [ "$limit" -le "$left" ] || limit=$((left > 1 ? left : 1))
  echo "== $name"
  timeout -s INT -k 3 "$limit" "$@" || status=$?  # pytest, interrupted, still tells what failed
  [ "$status" -eq 0 ] || failed+=("$name ($status)")
  echo "== $name: status $status, $((SECONDS - start)) s"
}

summary() { timeout 20 "$PYTHON" scripts/gpu_summary.py "$JADCE_BENCH_JSON" "${failed[@]}"; }

checkers() { # selection, suffix of logs, seconds, tools; at the same time, of our kernels only
  local selection=$1 suffix=$2 limit=$3 tool pids=() status=0
  shift 3
  for tool in "$@"; do
    timeout -s INT -k 3 "$limit" compute-sanitizer --tool "$tool" --error-exitcode 1 --report-api-errors no \
      --kernel-name kernel_substring=jadce "$PYTHON" -m pytest -q --tb=short -p no:cacheprovider tests/test_cuda*.py \
      -k "$selection" > "$OUT/$tool$suffix.log" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  for tool in "$@"; do tail -n 4 "$OUT/$tool$suffix.log"; done
  return "$status"
}

{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
  part build 100 "$PYTHON" -m pip install -q --no-build-isolation --no-deps --no-compile --no-index \
    --disable-pip-version-check --target "$SITE" . \
    -Ccmake.define.JADCE_CUDA=ON -Ccmake.define.CMAKE_CUDA_ARCHITECTURES=90
  if [ ${#failed[@]} -gt 0 ]; then # nothing that follows would be a check of this commit
    summary
    echo "failed: ${failed[*]}"
    exit 1
  fi
  export PYTHONPATH="$SITE:tests:benchmarks"
  summary
  workers=()
  "$PYTHON" -c "import xdist" 2> /dev/null && workers=(-n 4)
  part tests 80 "$PYTHON" -m pytest -q --tb=short -p no:cacheprovider "${workers[@]}" tests/test_cuda*.py \
    -k "not emulated"
  export -f checkers
  export PYTHON OUT
  small="not emulated and not cpu and not batch_equals and not graph"
  part checkers 90 bash -c 'checkers "$0" "" 80 memcheck racecheck synccheck' \
    "$small and (plain or shape0 or 16-800 or odd or batch or settles)"
  # Loops inside graphs by themselves, and without racecheck, which does not know them (docs/gpu.md).
  part "checkers, graphs" 40 bash -c 'checkers "$0" -graphs 30 memcheck synccheck' "not emulated and (graph or batch_equals)"
  part kernels 45 "$PYTHON" benchmarks/bench_cuda_kernels.py
  part detections 80 "$PYTHON" benchmarks/bench_cuda.py
  part network 40 "$PYTHON" benchmarks/bench_cuda_network.py
  part langevin 30 "$PYTHON" benchmarks/bench_langevin.py --threads
  summary
  # Last, since it may take the rest of the time.
  part torch.compile 60 bash -c '"$0" benchmarks/bench_cuda.py compile; "$0" benchmarks/bench_cuda_network.py compile' "$PYTHON"
  summary
  echo "failed: ${failed[*]:-nothing}"
  [ ${#failed[@]} -eq 0 ]
} 2>&1 | tee "$OUT/gpu.log"
exit "${PIPESTATUS[0]}"
