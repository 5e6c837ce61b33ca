# Every target sets up what it needs: a virtual environment from requirements.lock, and the control plane's binaries in a cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SUPPLY := $(VENV)/supply
PYTEST_ARGS ?=
PYZ := dist/verify
CONTAINER ?= docker
BASE ?= debian-root
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
IMAGE ?= ghcr.io/laycan/laycan:$(VERSION)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
EPOCH = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
CREATED = $(shell date -u -d @$(EPOCH) +%Y-%m-%dT%H:%M:%SZ)
COMMA := ,
LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url
SITE = $(VENV)/lib/python3.*/site-packages
unexport PYTHONDONTWRITEBYTECODE  # else every worker, and every operator that a test starts, compiles all modules anew

.PHONY: setup controlplane lint fmt test test-long test-kubelet image test-image bench-image wheel sbom audit \
	chart release-check actionlint conformance e2e demo up operator down generate lock clean bench bench-baselines bench-tbpp bench-repair bench-stream \
	bench-delivery bench-asking bench-agent bench-ledger bench-verify bench-catchup bench-atp bench-whatif verify.pyz

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

test: $(READY)
	$(MAKE) -j 2 lint controlplane  # alone, each leaves a core idle for a while
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)  # two cores: tests of the control plane wait half of the time

test-long: controlplane  # drawn instances and places to die four times as many
	LAYCAN_DRAWS=4 $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-kubelet: controlplane  # delivery on a real kubelet; needs root, containerd and runc
	$(BIN)/pytest tests/kubelet -m kubelet $(PYTEST_ARGS)

image:  # CONTAINER builds it as IMAGE; BUILDER, BASE and CA as docs/image.md says
	$(CONTAINER) build --tag $(IMAGE) --build-arg BASE=$(BASE) $(if $(BUILDER),--build-arg BUILDER=$(BUILDER)) $(if $(CA),--secret id=ca$(COMMA)src=$(CA)) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg CREATED=$(CREATED) --build-arg SOURCE_DATE_EPOCH=$(EPOCH) $(BUILD_FLAGS) .

test-image: controlplane  # the image without Docker: built, run, and on a real kubelet; on Debian, needs root, a network and packages
	$(BIN)/pytest tests/image -m image $(PYTEST_ARGS)

bench-image: controlplane  # its size, and the time that a process takes to start in it
	$(BIN)/python -m bench.image

wheel: $(READY)  # dist/laycan-*.whl and .tar.gz; equal sources make equal files
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/hatchling build -d dist

$(SUPPLY)/.ready: image/supply.lock
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/pip install --quiet --require-hashes -r $<
	touch $@

sbom: $(SUPPLY)/.ready  # dist/laycan-*.cdx.json: what the wheel and the image need to run, as CycloneDX, validated
	mkdir -p dist
	SOURCE_DATE_EPOCH=$(EPOCH) $(SUPPLY)/bin/cyclonedx-py requirements image/runtime.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible --validate -o dist/laycan-$(VERSION).cdx.json

audit: $(SUPPLY)/.ready  # known holes in the locked packages, as PyPI tells of them; fails too where it cannot tell
	for lock in requirements.lock image/*.lock; do $(SUPPLY)/bin/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done

chart: controlplane  # dist/laycan-*.tgz
	mkdir -p dist
	$$($(BIN)/python -m controlplane.build | awk '$$1 == "helm" {print $$2}') package charts/laycan --destination dist

release-check:  # TAG, of the environment, which make does not expand, names the version of pyproject.toml; that the chart has it too, the tests see to
	@test "$$TAG" = "v$(VERSION)" || { echo "the tag is $$TAG, pyproject.toml says v$(VERSION)" >&2; exit 1; }

actionlint:  # of the workflows; fetches one Go program
	go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.7 -shellcheck= -pyflakes=

conformance: controlplane  # every attack, on a control plane of its own; ONLY picks some, else docs/conformance.md is written
	$(BIN)/python -m tests.cluster.conform $(if $(ONLY),--only $(ONLY),)

demo: controlplane  # KEEP=1 leaves it running, PICTURE names a file for a picture of it (docs/images/demo.svg)
	$(BIN)/python -m demo $(if $(KEEP),--keep,) $(if $(PICTURE),--picture $(PICTURE),)

up: $(READY)  # NODES, DEVICE_NODES: so many GPU nodes with NVIDIA's device plugin, with its DRA driver
	$(BIN)/python -m controlplane up $(if $(NODES),--nodes $(NODES),) $(if $(DEVICE_NODES),--device-nodes $(DEVICE_NODES),)

operator: $(READY)  # the operator of the chart that helm installed there, until Ctrl-C
	$(BIN)/python -m controlplane operator

down: $(READY)
	$(BIN)/python -m controlplane down

generate: $(READY)
	$(BIN)/python -m laycan.resources.crd crds
	$(BIN)/python -m laycan.events.publish docs
	$(BIN)/python -m laycan.metrics_page docs
	$(BIN)/python -m charts.dashboard
	$(BIN)/python -m laycan.resources.reference examples/kinds docs
	$(BIN)/python -m laycan.cli.reference docs
	$(BIN)/python -m charts.readme charts/laycan

lock: $(READY)
	$(BIN)/pip install --quiet uv
	$(LOCK) --group dev -o requirements.lock pyproject.toml
	$(LOCK) --constraints requirements.lock --excludes image/left-out.txt -o image/runtime.lock pyproject.toml
	$(LOCK) --constraints requirements.lock --group image -o image/build.lock
	$(LOCK) --constraints requirements.lock --group supply -o image/supply.lock

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

bench-atp: $(READY)  # promised against simulated chances of a shortfall; ROWS picks some, SEEDS says on which instances
	$(BIN)/python -m bench.atp $(if $(ROWS),--rows $(ROWS),) $(if $(SEEDS),--seeds $(SEEDS),)

bench-whatif: $(READY)  # each node, and each rack, is lost, one at a time
	$(BIN)/python -m bench.whatif

bench-delivery: controlplane  # on a real control plane; ROWS picks some
	$(BIN)/python -m bench.delivery $(if $(ROWS),--rows $(ROWS),--page docs/delivery-times.md)

bench-asking: controlplane  # quotes through the API, on a real control plane
	$(BIN)/python -m bench.asking $(if $(NODES),--nodes $(NODES),)

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
