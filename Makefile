# Two commands do all set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
STAMPS := $(VENV)/stamps
SOURCES := $(shell find csrc cmake include -type f) CMakeLists.txt pyproject.toml constraints.txt
CPP := $(shell find csrc include examples tests -name '*.[ch]pp' -o -name '*.[ch]' -o -name '*.cu')

# Those that distributions package; `make compilers` takes the ones that are here.
COMPILERS := $(foreach c,g++-12 g++-13 g++-14 g++-15 clang++ g++,$(if $(shell command -v $(c)),$(c)))

.PHONY: demo test lint bench slow format clean install compilers sanitize soak

install: $(STAMPS)/package

demo: $(STAMPS)/package
	$(BIN)/jadce demo --output out

test: $(STAMPS)/package $(STAMPS)/test
	$(BIN)/python -m pytest -n 2 -m "not slow"

slow: $(STAMPS)/package $(STAMPS)/test
	$(BIN)/python -m pytest -m slow

# Every compiler builds the library and the emulator without a warning, and its build passes the tests.
compilers: $(STAMPS)/package $(STAMPS)/test
	for c in $(COMPILERS); do echo "== $$c" && $$c --version | head -n 1 && \
	  CXX=$$c CUDAHOSTCXX=$$c $(PIP) install -q -c constraints.txt -e . --no-build-isolation -Cbuild-dir=build/$$c \
	    -Ccmake.define.JADCE_EMULATOR=ON -Ccmake.define.JADCE_WERROR=ON && \
	  $(BIN)/python -m pytest -q -n 2 -m "not slow" || exit 1; done
	rm -f $(STAMPS)/package && $(MAKE) install

# The tests of native code, watched: memory and undefined behaviour, then threads.
NATIVE := $(addprefix tests/test_,ops.py langevin_kernels.py beam_network.py recorded.py receiver.py repeated.py structure.py noise.py stream.py)
sanitize: $(STAMPS)/package $(STAMPS)/test
	scripts/sanitize.sh address,undefined $(NATIVE) $(addprefix tests/test_,cuda_ops.py cuda_posterior.py cuda_detection.py emulator.py)
	scripts/sanitize.sh thread $(NATIVE)

# Random problems, resumed where they were interrupted, and one receiver that must not grow.
soak: $(STAMPS)/package
	$(BIN)/python scripts/soak.py --problems 100000 --detections 100000

bench: $(STAMPS)/package
	for f in benchmarks/bench_*.py; do $(BIN)/python $$f || exit 1; done

lint: $(STAMPS)/package $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/stubtest jadce_fast._core --allowlist scripts/stubtest.txt
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	echo '#include <jadce/jadce.h>' | $(CC) -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude -xc -
	echo '#include <jadce/jadce.hpp>' | $(CXX) -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude -xc++ -
	$(BIN)/cmake -S . -B build/lint -G Ninja -DJADCE_WERROR=ON -DJADCE_CUDA=AUTO -DJADCE_EMULATOR=ON -DCMAKE_BUILD_TYPE=Release \
	  -DPython_EXECUTABLE=$(abspath $(BIN)/python) -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) \
	  -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) > /dev/null
	$(BIN)/cmake --build build/lint --target all headers
	objects=$$(find build/lint/CMakeFiles/kernels_cuda.dir -name '*.cu.o' 2> /dev/null); \
	  [ -z "$$objects" ] || $(BIN)/python scripts/early_loads.py $$objects

format: $(STAMPS)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

clean:
	rm -rf $(VENV) build out

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q --upgrade "pip>=24"
	mkdir -p $(STAMPS) && touch $@

# Editable: Python changes need no reinstall, and a change of the native sources rebuilds.
$(STAMPS)/package: $(STAMPS)/venv $(SOURCES)
	$(PIP) install -q -c constraints.txt scikit-build-core pybind11 cmake ninja
	$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[torch,files,plots]" -Cbuild-dir=build/package
	touch $@

$(STAMPS)/test: $(STAMPS)/package
	$(PIP) install -q -c constraints.txt -e ".[test,oracle]" --no-build-isolation -Cbuild-dir=build/package \
	  -Ccmake.define.JADCE_EMULATOR=ON -Ccmake.define.JADCE_WERROR=ON
	touch $@

$(STAMPS)/lint: $(STAMPS)/package
	$(PIP) install -q -c constraints.txt -e ".[lint]" --no-build-isolation -Cbuild-dir=build/package
	touch $@
