# The commands of this repository. `make demo` and `make test` are all one needs in a fresh clone.
#
#   make demo                   synthetic radiographs, nine resolutions, a table and a contact sheet
#   make demo DATA=folder       the same on your films
#   make test                   RESLOAD_DATA=folder runs the tests on real films too
#   make test-dali              the tests that need NVIDIA DALI (700 MB, on the CPU)
#   make test-triton            the kernels for CUDA, by Triton's interpreter on the CPU
#   make test-torchvision       augmentation by torchvision's transforms
#   make test-pillow-simd       the tests of decoding, resizing and augmenting with pillow-simd in Pillow's place
#   make lint | bench | docs    what the names say; lint also looks at spelling and links
#   make figures                the figures of docs/, drawn again by the scripts beside them
#   make torture                kills, full disks, power cuts, damage, hostile input, Ctrl-C and long runs
#   make compare                other loaders installed beside ours (benchmarks/peers) and measured: about 20 minutes;
#                               SYSTEM=1 lets apt-get install what FFCV and SPDL need of the system
#   make venv                   only .venv, again when pyproject.toml or constraints.txt changed

PYTHON ?= python3
DATA ?=
SYSTEM ?=
BIN := .venv/bin
STAMP := .venv/.stamp
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: venv demo test test-dali test-triton test-torchvision test-pillow-simd lint bench torture compare docs figures
.DEFAULT_GOAL := demo

venv: $(STAMP)

# torch goes first and alone: what follows then finds it there, and no other build of it is pulled in.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "resload needs Python 3.11 or later, and $(PYTHON) is not (or is not there): make $(or $(MAKECMDGOALS),venv) PYTHON=python3.11"; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install python3-venv)"; \
		exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,docs]' -c constraints.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/python benchmarks/demo.py $(if $(DATA),--data "$(DATA)")

# RESLOAD_DATA reaches pytest through the environment: a folder of real films, or nothing. torch's threads sleep while
# they wait for each other: spinning, as by default, they slow training down tenfold where other processes run.
test: export OMP_WAIT_POLICY ?= PASSIVE
test: $(STAMP)
	$(BIN)/python -m pytest

# In .venv-dali, beside .venv and seeing it.
test-dali: $(STAMP)
	$(BIN)/python tests/beside.py dali

# In .venv-triton, likewise.
test-triton: $(STAMP)
	$(BIN)/python tests/beside.py triton

# In .venv-torchvision, likewise.
test-torchvision: $(STAMP)
	$(BIN)/python tests/beside.py torchvision

# In .venv-pillow-simd, beside .venv and seeing it; says so where this machine cannot build pillow-simd.
test-pillow-simd: $(STAMP)
	$(BIN)/python tests/beside.py pillow-simd

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell -D - -D tests/american.txt README.md CHANGELOG.md SECURITY.md Makefile pyproject.toml docs resload tests examples benchmarks/*.py benchmarks/peers
	$(BIN)/python tests/links.py

bench: $(STAMP)
	$(BIN)/python benchmarks/cached_loading.py
	$(BIN)/python benchmarks/build_cost.py
	$(BIN)/python benchmarks/png_routes.py
	$(BIN)/python benchmarks/source_loading.py
	$(BIN)/python benchmarks/film_overhead.py
	$(BIN)/python benchmarks/any_size.py
	$(BIN)/python benchmarks/pillow_engines.py
	$(BIN)/python benchmarks/dicom_decode.py
	$(BIN)/python benchmarks/near_duplicates.py
	$(BIN)/python benchmarks/archive.py
	$(BIN)/python benchmarks/splits.py
	$(BIN)/python benchmarks/sampler_plan.py
	$(BIN)/python benchmarks/mixed_sizes.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/transforms.py
	$(BIN)/python benchmarks/augmentation.py
	$(BIN)/python benchmarks/limits.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/interval_coverage.py
	$(BIN)/python benchmarks/synthetic_study.py
	$(BIN)/python benchmarks/targets.py

torture: $(STAMP)
	$(BIN)/python benchmarks/torture.py
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/corruption.py
	$(BIN)/python benchmarks/fuzz.py
	$(BIN)/python benchmarks/long_runs.py
	$(BIN)/python benchmarks/long_runs.py --interrupts 300

compare: $(STAMP)
	$(BIN)/python benchmarks/peers/install.py $(if $(SYSTEM),--system)
	$(BIN)/python benchmarks/compare.py

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

figures: $(STAMP)
	for script in $(filter-out %/drawing.py,$(wildcard docs/figures/*.py)); do $(BIN)/python $$script || exit 1; done
