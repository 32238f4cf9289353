# qsup: two commands to begin with: `make demo` and `make test`. Each target sets up what it needs (.ci/setup).

LAB_PACKAGES = tests/lab/host-packages.txt
LAB_PYTEST = .venv/bin/pytest tests/lab
python = .venv/bin/python
step = @.ci/step

.PHONY: test demo bench lab lab-test lab-smoke lab-shell ci-full setup lab-setup clean

test: setup            ## lint, types, the order of the rooms, the fast tests
	@.ci/promtool
	$(step) ruff .venv/bin/ruff check
	$(step) mypy .venv/bin/mypy
	$(step) lint-imports .venv/bin/lint-imports --no-cache
	$(step) pytest .venv/bin/pytest -n 2 --dist loadfile --ignore=tests/live
	$(step) pytest-live .venv/bin/pytest tests/live -n 3 --dist loadfile

demo: setup            ## the main job on directories of its own; KEEP=1 leaves it up, END=DIR ends that
	@$(python) -m tests.demo $(if $(KEEP),--keep) $(if $(END),--end $(END))

bench: setup           ## qsup beside a script that starts the very same command line
	@$(python) -m tests.bench

lab: lab-setup         ## builds the host in a box
	@$(python) -m tests.lab build

lab-test: lab-setup    ## everything that qsup promises, on a whole host
	$(step) lab-test $(LAB_PYTEST) -n 2 --dist loadfile

lab-smoke: lab-setup   ## the part of it that runs with every submission
	$(step) lab-smoke $(LAB_PYTEST) -m smoke

lab-shell: lab-setup   ## a shell in a fresh host with qsup installed
	@$(python) -m tests.lab shell

ci-full: export QSUP_LAB_REQUIRED = 1
ci-full: test lab-test demo bench

setup:
	@.ci/setup

lab-setup:
	@.ci/setup $(LAB_PACKAGES)

clean:
	rm -rf .venv build dist .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find qsup tests -name __pycache__ -prune -exec rm -rf {} +
