PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Python compiles what it imports when it does: pip would compile all that there is, for a minute.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile

.PHONY: help demo demo-commands test lint docs benchmark sanitize
help:
	@echo "make demo   train a small Glow on digits, evaluate it, draw samples (2 minutes after installing)"
	@echo "make test   lint, types, tests and docstring examples (under 10 minutes)"
	@echo "make lint   lint and types alone"
	@echo "make docs   the documentation as a site, in site/ (a minute after installing)"
	@echo "make sanitize   the C of the kernels under the sanitizers of gcc (two minutes)"
	@echo "make benchmark   time and memory beside other libraries, docs/performance.md (an hour or two)"
	@echo "make benchmark PLAN=quick   the same on small models, to see that all of it runs (two minutes)"

$(VENV)/pip.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "glowkit needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/pip.stamp
	@echo "installing glowkit into $(VENV) ..."
	$(PIP) --editable .
	@touch $@

$(VENV)/test.stamp: pyproject.toml | $(VENV)/pip.stamp
	@echo "installing glowkit and what its tests need into $(VENV) ..."
	$(PIP) --editable '.[dev]'
	@touch $@

demo: $(VENV)/demo.stamp
	@$(MAKE) --no-print-directory demo-commands

# Each demo is a run of its own, so that none overwrites another.
GLOWKIT ?= $(BIN)/glowkit
demo-commands:
	@set -e; run=runs/demo-$$(date +%Y%m%d-%H%M%S); \
	$(GLOWKIT) train digits --preset glow-tiny --epochs 50 --evaluate-every 0.25 \
	  --batch-size 128 --learning-rate 2e-3 --weight-decay 1 --out $$run; \
	$(GLOWKIT) sample $$run --temperature 0.5,0.7,0.85,1.0 --count 12; \
	$(GLOWKIT) evaluate $$run --baselines; \
	echo; echo "samples: $$run/samples/samples.png"; echo "report:  $$run/report.html"

$(VENV)/benchmark.stamp: pyproject.toml | $(VENV)/pip.stamp
	@echo "installing glowkit and the libraries it is compared with into $(VENV) ..."
	$(PIP) --editable '.[benchmark]'
	@touch $@

$(VENV)/docs.stamp: pyproject.toml | $(VENV)/pip.stamp
	@echo "installing glowkit and what its site is made with into $(VENV) ..."
	$(PIP) --editable '.[docs]'
	@touch $@

# Strict: a link that leads nowhere, or a page that is in no menu, is an error; with --quiet it is not.
docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "site/index.html"

PLAN ?= full
benchmark: $(VENV)/benchmark.stamp
	$(BIN)/python -m benchmarks all --plan $(PLAN)
	@echo "docs/performance.md is made of it by: $(BIN)/python -m benchmarks report benchmark-results.json"

lint: $(VENV)/test.stamp
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy

# One thread a process: two test processes that each use every core slow each other down. Each
# begins with half of the files, so that what the tests of one share is made once, not in both.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

# Random shapes through the kernels, with walls between all pieces of memory (tests/nets/kernels_fuzz.c).
# ISAS: those that the processor here can run; EMULATOR: what runs another's programs.
KERNELS := src/glowkit/nets/kernels
ISAS ?= baseline avx2 avx512
CASES ?= 300
# Shifts of negative numbers are what gcc and clang say they are.
SANITIZERS ?= -fsanitize=address,undefined -fno-sanitize=pointer-overflow,shift -fno-sanitize-recover=undefined
FLAGS_avx2 := -mavx2 -mfma
FLAGS_avx512 := -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512
sanitize:
	@mkdir -p build/sanitize
	@for file in $(notdir $(wildcard $(KERNELS)/*.[ch])); do \
	  sed -e 's/^static float \*take(/static float *take_plain(/' \
	    -e 's/^static Sums sums_in(/static Sums sums_plain(/' $(KERNELS)/$$file > build/sanitize/$$file; done
	@$(foreach isa,$(ISAS),$(foreach fuzz,kernels_fuzz kernels_fuzz_mixture, \
	  echo "$(fuzz), $(isa)" && \
	  $(CC) -std=gnu11 -ffp-contract=fast -g -O1 $(SANITIZERS) $(FLAGS_$(isa)) -I$(KERNELS) \
	    -DSTEP='"$(CURDIR)/build/sanitize/step.c"' -o build/sanitize/$(fuzz)-$(isa) \
	    tests/nets/$(fuzz).c -lm -lpthread && \
	  $(EMULATOR) build/sanitize/$(fuzz)-$(isa) $(CASES) &&)) true
