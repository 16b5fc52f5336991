#!/usr/bin/env bash
# Measure every shipped prior beside the genie on held-out channels of the CDL tables: docs/data/denoising/*.csv and two
# pictures in docs/images. Goes on from where it was interrupted.
set -euo pipefail
cd "$(dirname "$0")/.."
JADCE=${JADCE:-.venv/bin/jadce}
OUT=${OUT:-out/denoising}
mkdir -p "$OUT" docs/data/denoising
measure() { # model, angles, further options
  local case=$1-$2
  $JADCE figures cai-4 --model "$1" --angles "$2" --output "$OUT/$case" "${@:3}"
  cp "$OUT/$case/cai-4.csv" "docs/data/denoising/$case.csv"
}
measure C arrival --channels 5000 --slow-channels 200
for model in C A B D E; do measure $model departure --channels 500 --baseline ls; done
measure_times() { # on an idle machine: few channels, all estimators
  $JADCE figures cai-4 --output "$OUT/times" --channels 50 --slow-channels 25
  cp "$OUT/times/cai-4.csv" docs/data/denoising/times.csv
}
measure_times
cp "$OUT/C-arrival/cai-4.png" "$OUT/C-arrival/cai-4-coloured.png" docs/images/
