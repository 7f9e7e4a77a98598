# Everything that people run. `make` alone lists the targets; each takes STATE=folder.

STATE ?= $(or $(MESH_STATE),.mesh)
BROKER ?=
ARGS ?=
# The first of these that is Python 3.11 or 3.12.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
# Each worker costs half a minute of imports, and quick tests hardly wait; of the long ones some do little else.
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN)
SLOW_WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 2 )))
UV_VERSION := 0.13.9
BIN := .venv/bin
# Folders of tests are in memory where 8 GB are free there: a test waits for no disk, and files cost a tenth less.
IN_MEMORY = $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 8000000 { print "TMPDIR=/dev/shm" }') $(NICE)
PYTEST = $(IN_MEMORY) $(BIN)/pytest
# Each worker would import what drives a browser, for nothing.
NO_BROWSER = --ignore-glob='*_e2e.py'
# The files of the long tests: each worker would import the others, Airflow with them, to select none of their tests.
SLOW_FILES = $(shell grep -rlE 'slow|SLOW' --include='test_*.py' --exclude='*_e2e.py' platform/tests domains tests)
THOROUGH_FILES = $(shell grep -rlE 'thorough|hypothesis' --include='test_*.py' --exclude='*_e2e.py' --exclude='*_servers.py' platform/tests domains tests)
export MESH_STATE := $(STATE)
# Where it is set, every call compiles its imports anew, which takes longer than most commands.
unexport PYTHONDONTWRITEBYTECODE
ifneq ($(BROKER),)
export MESH_BROKER_URL := $(BROKER)
endif

.DEFAULT_GOAL := help
.PHONY: help run airflow airflow-stop superset superset-stop superset-check test test-slow test-thorough test-e2e test-stack chaos guarantees docs check hooks bench bench-ml test-ml notebooks mlflow openmetadata-check dbt-check parity real-orders clean-state lock

help: ## List the targets
	@echo "The Mesh-terious Warehouse. make TARGET [STATE=folder] [BROKER=amqp://...]"
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/' | expand -t 21

run: .venv/run ## Simulate ACME, ingest, build, compare with the answer key; each further run adds a day
	@$(BIN)/mesh run $(ARGS)

airflow: .venv/airflow ## Start Airflow on loopback; it ingests and builds as messages arrive (BROKER=amqp://...)
	@scripts/airflow start

airflow-stop: ## Stop Airflow and all that it started
	@scripts/airflow stop

superset: .venv/run .venv-superset/done ## Start Superset on loopback with the dashboards of all domains
	@scripts/superset start

superset-stop: ## Stop Superset and all that it started
	@scripts/superset stop

test: .venv/test ## Install what the tests need, and run the tests that everybody runs before a push
	@QUICK=1 $(PYTEST) -n $(WORKERS) --dist loadfile $(NO_BROWSER) -m "not slow and not thorough and not e2e and not stack and not superset" $(ARGS)

test-slow: .venv/test ## Run the long tests: random kills, races, whole runs, the commands of the documents
	@$(PYTEST) -n $(SLOW_WORKERS) --dist worksteal $(NO_BROWSER) -m "slow and not thorough and not stack" $(or $(ARGS),$(SLOW_FILES))

test-thorough: .venv/test ## Run whole, for an hour, what other tests try by a sample: each operation, more draws, seeds and days
	@THOROUGH=1 $(PYTEST) -n $(SLOW_WORKERS) --dist worksteal $(NO_BROWSER) -m "(thorough or hypothesis) and not stack and not superset" $(or $(ARGS),$(THOROUGH_FILES))
	@THOROUGH=1 $(PYTEST) -n 0 -m stack tests/test_faults_on_servers.py

test-e2e: .venv/test ## Run the tests that start Airflow with its scheduler: a burst, a kill, a look at its pages
	@$(BIN)/pytest -m e2e tests/test_*_e2e.py $(ARGS)

test-stack: .venv/test ## Run the tests on servers of their own: PostgreSQL, an S3 store, a REST catalog, RabbitMQ (scripts/stack)
	@$(PYTEST) -m stack tests/test_*on_servers.py $(ARGS)

chaos: .venv/test ## Kill ingest at random, seed after seed (SECONDS=600 SEEDS=20); continues where the last call stopped
	@PYTHONPATH=tests $(BIN)/python -m chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

guarantees: .venv/test ## Write docs/guarantees.md from the records of tests and chaos below build/
	@PYTHONPATH=tests $(BIN)/python -m guarantees

docs: .venv/test ## Write the commands of docs/cli.md from their help texts
	@$(BIN)/python -m mesh_platform.cli.reference

check: .venv/test ## mesh check, yamllint, ruff, mypy --strict, import-linter
	@$(BIN)/mesh check
	@$(BIN)/yamllint --strict .
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

hooks: .venv/test ## Let git run mesh check, yamllint and ruff before each commit
	@$(BIN)/pre-commit install

bench: .venv/bench ## Measure speed and compare it with references; writes docs/speed.md, build/bench.json and .svg
	@$(BIN)/python -m benchmarks $(ARGS)

bench-ml: .venv-ml/done ## Backtest the models of ml_insights on three simulated worlds; writes docs/ml-figures.md
	@PYTHONPATH=.:domains .venv-ml/bin/python -m benchmarks.ml $(ARGS)

notebooks: .venv-ml/done ## Run the notebooks of ml_insights on the lake of STATE; writes a page of each to STATE/notebooks
	@.venv-ml/bin/python domains/ml_insights/notebooks/pages.py "$(STATE)/notebooks"

mlflow: .venv/run .venv-mlflow/done ## Copy the record of trainings to MLflow (URI=http://... or sqlite:///...), each once
	@test -n "$(URI)" || { echo "Say where: make mlflow URI=http://... or URI=sqlite:///mlflow.db"; exit 2; }
	@found=$$($(BIN)/mesh ml list --format json) && echo "$$found" | .venv-mlflow/bin/python scripts/mlflow_runs.py '$(URI)'

test-ml: .venv-ml/done ## Test the models and notebooks of ml_insights in the environment that has their packages
	@$(IN_MEMORY) .venv-ml/bin/pytest $(addprefix domains/ml_insights/tests/test_,forecasting.py learning.py notebooks.py) $(ARGS)

parity: export MESH_STATE := $(if $(filter file,$(origin STATE)),build/parity,$(STATE))
parity: .venv-spark/done ## Run each model on DuckDB and on Spark, on three days of ACME, and write docs/parity.md
	@.venv-spark/bin/mesh run --days 3 --format json >/dev/null
	@.venv-spark/bin/mesh parity --page docs/parity.md $(ARGS)

openmetadata-check: .venv/test ## Try publishing on a real OpenMetadata (URL=... TOKEN=...), in names of its own, removed at the end
	@test -n "$(URL)" -a -n "$(TOKEN)" || { echo "Say where: make openmetadata-check URL=https://... TOKEN=..."; exit 2; }
	@MESH_TEST_OPENMETADATA_URL='$(URL)' MESH_TEST_OPENMETADATA_TOKEN='$(TOKEN)' \
		$(BIN)/pytest -n 0 platform/tests/metadata/openmetadata/test_any_server.py $(ARGS)

dbt-check: .venv/test .venv-dbt/done ## Build an exported project with dbt, on three days of ACME and on planted faults
	@MESH_REQUIRE_SERVICES=1 $(PYTEST) -n 0 -m slow platform/tests/metadata/test_dbt_verdicts.py tests/test_dbt.py $(ARGS)

superset-check: .venv/test .venv-superset/done ## Try the dashboards on a Superset of the tests' own, in a browser
	@MESH_REQUIRE_SERVICES=1 $(PYTEST) -n 0 -m superset tests/superset $(ARGS)

real-orders: export MESH_STATE := $(if $(filter file,$(origin STATE)),.mesh-real-orders,$(STATE))
real-orders: .venv/run ## Send 69,659 real purchases through the producers and compare the totals (BROKER=amqp://...)
	@$(BIN)/python examples/real_orders/run.py $(ARGS)

clean-state: ## Delete broker, catalog, warehouse and simulated history
	@test ! -e "$(STATE)/.git" -a ! -e "$(STATE)/Makefile" || { echo "$(STATE) is no state folder."; exit 1; }
	@test ! -d "$(STATE)/airflow" || scripts/airflow stop
	@test ! -d "$(STATE)/superset" || scripts/superset stop
	@test ! -d "$(STATE)/rabbitmq" || scripts/rabbitmq stop
	rm -rf "$(STATE)"

lock: .venv/test ## Pin the newest requirements
	@for name in run airflow postgresql stack test bench openmetadata dbt spark superset ml mlflow; do $(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate \
		--upgrade requirements/$$name.in -o requirements/$$name.txt; done

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null || \
		{ echo "Python 3.11 or 3.12 is needed. Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up .venv with $(PYTHON), once: some 800 MB, about a minute."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/run: .venv/python requirements/run.txt platform/pyproject.toml
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/run.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e platform
	@touch $@

.venv/airflow: .venv/run requirements/airflow.txt
	@echo "Installing Airflow, once: some 400 MB."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/run.txt -r requirements/airflow.txt
	@touch $@

# Of the packages in schemas.txt the tests read only JSON schemas. What they need does not fit run.txt.
.venv/test: .venv/airflow requirements/test.txt requirements/stack.txt requirements/postgresql.txt requirements/schemas.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/run.txt -r requirements/test.txt \
		-r requirements/stack.txt -r requirements/postgresql.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements/schemas.txt
	@touch $@

.venv/bench: .venv/airflow requirements/bench.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/run.txt -r requirements/bench.txt
	@touch $@

# Of its own: it pins what others must not be pinned to, and its licence is not this project's.
.venv-openmetadata/done: .venv/python requirements/openmetadata.txt
	@echo "Installing OpenMetadata's models, once: some 450 MB."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-openmetadata
	@$(BIN)/uv pip install --quiet --python .venv-openmetadata/bin/python -r requirements/openmetadata.txt
	@touch $@

# Of its own: it asks for other versions than run.txt.
.venv-dbt/done: .venv/python requirements/dbt.txt
	@echo "Installing dbt, once: some 200 MB."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-dbt
	@$(BIN)/uv pip install --quiet --python .venv-dbt/bin/python -r requirements/dbt.txt
	@touch $@

# Of its own: it asks for other versions than run.txt.
.venv-superset/done: .venv/python requirements/superset.txt
	@echo "Installing Superset, once: some 700 MB."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-superset
	@$(BIN)/uv pip install --quiet --python .venv-superset/bin/python -r requirements/superset.txt
	@touch $@

# Of its own: no other command should wait for scikit-learn or statsforecast.
.venv-ml/done: .venv/python requirements/run.txt requirements/ml.txt platform/pyproject.toml
	@echo "Installing the packages of the models, once: some 900 MB."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-ml
	@$(BIN)/uv pip install --quiet --python .venv-ml/bin/python -r requirements/run.txt -r requirements/ml.txt
	@$(BIN)/uv pip install --quiet --python .venv-ml/bin/python --no-deps --no-build-isolation -e platform
	@touch $@

# Of its own: it asks for other versions than run.txt.
.venv-mlflow/done: .venv/python requirements/mlflow.txt
	@echo "Installing MLflow, once: some 90 MB."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-mlflow
	@$(BIN)/uv pip install --quiet --python .venv-mlflow/bin/python -r requirements/mlflow.txt
	@touch $@

# Of its own: DuckDB's client would import pandas, which Spark's client needs, in each command.
.venv-spark/done: .venv/python requirements/run.txt requirements/spark.txt platform/pyproject.toml
	@echo "Installing Spark's client and Sail, once: some 800 MB."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-spark
	@$(BIN)/uv pip install --quiet --python .venv-spark/bin/python -r requirements/run.txt -r requirements/spark.txt
	@$(BIN)/uv pip install --quiet --python .venv-spark/bin/python --no-deps --no-build-isolation -e platform
	@touch $@
