# Every target sets up what it needs: a virtual environment from requirements.lock, and the control plane's binaries in a cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?=
PYZ := dist/verify
SITE = $(VENV)/lib/python3.*/site-packages

.PHONY: setup controlplane lint fmt test test-kubelet conformance e2e demo up down generate lock clean bench bench-baselines bench-tbpp bench-repair bench-stream \
	bench-delivery bench-agent bench-ledger bench-verify bench-catchup verify.pyz

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

controlplane: $(READY)
	$(BIN)/python -m controlplane.build

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

fmt: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint controlplane
	$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-kubelet: controlplane  # delivery on a real kubelet; needs root, containerd and runc
	$(BIN)/pytest tests/kubelet -m kubelet $(PYTEST_ARGS)

conformance: controlplane  # every attack, on a control plane of its own; ONLY picks some, else docs/conformance.md is written
	$(BIN)/python -m tests.cluster.conform $(if $(ONLY),--only $(ONLY),)

demo: controlplane
	$(BIN)/python -m demo $(if $(KEEP),--keep,)

up: controlplane
	$(BIN)/python -m controlplane up

down: $(READY)
	$(BIN)/python -m controlplane down

generate: $(READY)
	$(BIN)/python -m laycan.resources.crd crds
	$(BIN)/python -m laycan.events.publish docs

lock: $(READY)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --group dev --generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.lock pyproject.toml

verify.pyz: $(READY)  # dist/verify.pyz: the verifier as one file, for Python 3.11 and its package cryptography; the same files make the same bytes
	rm -rf $(PYZ) && mkdir -p $(PYZ)
	cp -r operator/laycan_verify operator/laycan_verify/__main__.py LICENSE $(SITE)/rfc8785 $(PYZ)
	cp $(SITE)/rfc8785-*.dist-info/LICENSE $(PYZ)/rfc8785
	find $(PYZ) -name __pycache__ -exec rm -r {} + && find $(PYZ) -exec touch -d @1000000000 {} +
	cd $(PYZ) && LC_ALL=C TZ=UTC $(abspath $(BIN))/python -m zipfile -c $(abspath $(PYZ)).zip *
	printf '#!/usr/bin/env python3\n' | cat - $(PYZ).zip > $(PYZ).pyz && chmod +x $(PYZ).pyz

bench: $(READY)  # the targets of bench/budgets.yaml; ROWS picks some, SEEDS says on which instances
	$(BIN)/python -m bench.plan $(if $(ROWS),--rows $(ROWS),) $(if $(SEEDS),--seeds $(SEEDS),)

bench-baselines: $(READY)
	$(BIN)/python -m bench.baselines $(if $(SEEDS),--seeds $(SEEDS),)

bench-tbpp: $(READY)  # DATA: a folder with the published instances, a folder per class
	$(BIN)/python -m bench.tbpp $(DATA)

bench-repair: $(READY)  # DATA: a folder with the node and pod lists of the openb cluster
	$(BIN)/python -m bench.repair $(DATA)

bench-stream: $(READY)
	$(BIN)/python -m bench.stream $(if $(SEEDS),--seeds $(SEEDS),)

bench-delivery: controlplane  # on a real control plane; ROWS picks some
	$(BIN)/python -m bench.delivery $(if $(ROWS),--rows $(ROWS),--page docs/delivery-times.md)

bench-agent: controlplane  # on a real control plane; ROWS picks some
	$(BIN)/python -m bench.agent $(if $(ROWS),--rows $(ROWS),)

bench-ledger: $(READY)  # FOLDER: an empty one on the disk to measure
	$(BIN)/python -m bench.ledger $(if $(FOLDER),--folder $(FOLDER),)

bench-verify: $(READY)  # how fast evidence is verified; ROWS picks some
	$(BIN)/python -m bench.verify $(if $(ROWS),--rows $(ROWS),)

bench-catchup: $(READY)  # an exchange that was away gets 10,000 events; receipts signed
	$(BIN)/python -m bench.catchup

e2e: $(READY)  # the cluster tests on kind; needs Docker
	$(BIN)/pip install --quiet "pytest-kind>=22.11"
	$(BIN)/pytest tests/cluster --kind $(PYTEST_ARGS)

clean: down
	rm -rf $(VENV) .run dist
