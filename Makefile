# `make run` and `make test` make the environment first where it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where to find a CPU build of torch, e.g. TORCH_INDEX=<index address>; empty: pip's own configuration decides.
TORCH_INDEX ?=
PIP_FLAGS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# Most tests wait for processes rather than for the processor.
PYTEST_WORKERS ?= 6

.PHONY: help install run live fleet test test-long lint types pytest base-model bench bench-learning bench-fleet gpu-check soak soak-fleet outage fuzz mutate image image-slim compose-test helm-test clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(VENV)/.installed  ## the environment, in .venv, with the vmafx-sidecar command in it

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev,all]'
	touch $(VENV)/.runnable $(VENV)/.live $(VENV)/.fleet $@

# What the demo needs, without torch; `make install` adds the rest to the same environment.
$(VENV)/.runnable: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[plot]'
	touch $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

run: $(VENV)/.runnable  ## the whole loop on real frames: about a minute
	$(BIN)/vmafx-sidecar demo

# What ffmpeg with libvmaf comes with, where the system's has none.
$(VENV)/.live: $(VENV)/.runnable
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[corpus]'
	touch $@

live: $(VENV)/.live  ## a real node: video that ffmpeg generates, encoded, predicted, measured, learned from: about two minutes
	$(BIN)/vmafx-sidecar encode --own-sidecar --target vmaf_phone --seconds 110

# A NATS server comes with it.
$(VENV)/.fleet: $(VENV)/.runnable
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fleet,fleet-server]'
	touch $@

fleet: $(VENV)/.fleet  ## four sidecars and a pool that learn together, beside what each would learn alone: about two minutes
	$(BIN)/vmafx-sidecar demo --fleet

test: lint types pytest  ## lint, type-check, test

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# What computes, with the kernels that every processor has: no result may hang on those of one. Then the rest, with this one's.
COMPUTES := tests/offline tests/trainer tests/correction
# One thread each, as in the processes of a sidecar: several workers run at a time.
pytest test-long: export OMP_NUM_THREADS := 1
pytest: install
	MKL_CBWR=COMPATIBLE $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile -m "not long" $(COMPUTES)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile -m "not long" $(COMPUTES:%=--ignore=%)

test-long: install  ## tests of a minute or more (the base model made anew, pages' commands, the fleet's demo and faults, registries away), second cases, and what computes with this processor's kernels
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m "not long" $(COMPUTES)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m long

base-model: install  ## the shipped base model, made again from ../shared/data
	$(BIN)/vmafx-sidecar train ../shared/data/vmaf_frames.parquet --name base_model -o pipeline/data \
	  --val-source aslbook,bottle,carphone,cars,chaplin,cockatoo,glacier,life,pan_astro,pan_china,pan_ihc,pan_retina,testsrc2
	$(BIN)/vmafx-sidecar registry add pipeline/data/base_model.onnx --id vmafx_base_v1 --replace

bench: install  ## every question of speed, against limits and alternatives; renews docs/benchmarks.md: ten minutes
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks

bench-learning: install  ## what the recipe learns, beside others, from ../shared/data; renews docs/learning-results.md: an hour on two cores
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.learning

bench-fleet: install  ## what sidecars learn together, from ../shared/data; renews docs/fleet-results.md: ten minutes on one core
	$(BIN)/python -m benchmarks.fleet

# An interpreter that has what is needed, e.g. GPU_PYTHON=python3: then nothing is installed, and no network is needed.
GPU_PYTHON ?=
gpu-check: $(if $(GPU_PYTHON),,install)  ## CUDA: its tests and its speed; renews its table in docs/benchmarks.md; code 77 where there is no device
	$(or $(GPU_PYTHON),$(BIN)/python) -m benchmarks.cuda

SECONDS ?= 600
soak: install  ## load and random faults, every sample accounted for: ten minutes, or make soak SECONDS=3600
	$(BIN)/python -m tests.faults.soak --seconds $(SECONDS)

soak-fleet: install  ## two sidecars, a pool and a server under random faults, every sample accounted for: ten minutes, or SECONDS=3600
	$(BIN)/python -m tests.faults.fleet --seconds $(SECONDS)

OUTAGE ?= --store oci
outage: install  ## a registry that is away while versions come and go: ten minutes, or make outage SECONDS=3600 OUTAGE='--store s3'
	$(BIN)/python -m tests.faults.outage --seconds $(SECONDS) $(OUTAGE)

fuzz: install  ## coverage-guided fuzzing of the wire: a minute, or make fuzz FUZZ_SECONDS=3600
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.hostile.fuzz_wire .fuzz/corpus -artifact_prefix=.fuzz/ -max_total_time=$(or $(FUZZ_SECONDS),60)

MUTATIONS ?= 10000
mutate: install  ## a live checkpoint directory, changed at random, keeps its promises: ten minutes, or make mutate MUTATIONS=100000
	$(BIN)/python -m tests.checkpoints.mutations $(MUTATIONS)

IMAGE ?= vmafx-sidecar
# Of the image without torch.
SLIM_IMAGE ?= $(IMAGE):slim
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' pipeline/__init__.py)
# More for `docker build`, e.g. --network host.
DOCKER_BUILD_FLAGS ?=
# The image to build on, best by its digest: BASE_IMAGE=python:3.11-slim-bookworm@sha256:…
BASE_IMAGE ?=
DOCKER_BUILD = docker build --file deploy/Dockerfile --build-arg VERSION=$(VERSION) \
  $(if $(BASE_IMAGE),--build-arg BASE=$(BASE_IMAGE)) $(DOCKER_BUILD_FLAGS)
REMOVE_BUILD_STAGE = docker image prune --force --filter label=vmafx-sidecar.stage=build

image: image-slim  ## the container images, vmafx-sidecar and vmafx-sidecar:slim; TORCH_INDEX says which build of torch goes in
	$(DOCKER_BUILD) --build-arg TORCH_INDEX=$(TORCH_INDEX) --tag $(IMAGE) --tag $(IMAGE):$(VERSION) .
	$(REMOVE_BUILD_STAGE)

image-slim:  ## the image without torch alone, vmafx-sidecar:slim
	$(DOCKER_BUILD) --build-arg EXTRAS= --tag $(SLIM_IMAGE) --tag $(IMAGE):$(VERSION)-slim .
	$(REMOVE_BUILD_STAGE)

compose-test: install image  ## the images and compose.yaml run for real, killed and stopped: ten minutes, needs Docker
	VMAFX_TEST_IMAGE=$(IMAGE) VMAFX_TEST_SLIM_IMAGE=$(SLIM_IMAGE) $(BIN)/python -m pytest tests/deploy/containers

POLICY := $(VENV)/policy
helm-test: install $(POLICY)/bin/checkov  ## chart and plain manifests (a part of make test), and a policy check of both
	PATH="$(CURDIR)/$(POLICY)/bin:$$PATH" $(BIN)/python -m pytest \
	  tests/deploy --ignore tests/deploy/containers -k 'chart or alone or kustomize or monitoring or policy'

# In an environment of its own: it pins what it depends on.
$(POLICY)/bin/checkov:
	$(PYTHON) -m venv $(POLICY)
	$(POLICY)/bin/python -m pip install --quiet 'checkov>=3.2,<4'

clean:  ## the environment and the caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
