#!/usr/bin/env bash
# Builds the library with sanitizers and runs the tests of its native code under them (`make sanitize`):
#   scripts/sanitize.sh address,undefined TESTS...
# The environment of `make test` lends its packages; the watched modules lie in one of their own.
set -euo pipefail
sanitizers=$1
shift
[[ $sanitizers == thread ]] && emulator=OFF || emulator=ON  # the emulator's threads are fibers of one
main=$PWD/.venv build=$PWD/build/sanitize-$sanitizers
"$main/bin/cmake" -S . -B "$build" -G Ninja -DJADCE_SANITIZE="$sanitizers" -DJADCE_CUDA=OFF -DJADCE_EMULATOR=$emulator \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF -DPython_EXECUTABLE="$main/bin/python" \
  -Dpybind11_DIR="$("$main/bin/python" -m pybind11 --cmakedir)" -DCMAKE_MAKE_PROGRAM="$main/bin/ninja" > /dev/null
"$main/bin/cmake" --build "$build"

"$main/bin/python" -m venv --without-pip "$build/venv"
site=$("$build/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
rm -rf "$site/jadce_fast"
cp -r python/jadce_fast "$site/"
find "$build" -name '_core*.so' -o -name '_emulated*.so' | xargs -I{} cp {} "$site/jadce_fast/"
# A .pth file in a folder that another one names is not read: the editable installation stays outside.
"$main/bin/python" -c 'import site; print(site.getsitepackages()[0])' > "$site/packages.pth"

library() { "${CXX:-c++}" -print-file-name="lib$1.so"; }
case $sanitizers in
  # The sanitizer itself starts no thread in a process that was forked from one with threads.
  thread) preload=$(library tsan) && set -- -k "not forked" "$@" ;;
  *) preload="$(library asan) $(library ubsan)" ;;
esac
# Python and torch keep much to the end; a thread that waits for the interpreter's lock holds none of ours.
LD_PRELOAD="$preload $(library stdc++)" ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONMALLOC=malloc \
  TSAN_OPTIONS=report_signal_unsafe=0:ignore_noninstrumented_modules=1 \
  "$build/venv/bin/python" -m pytest -q -p no:cacheprovider -m "not slow" "$@"
