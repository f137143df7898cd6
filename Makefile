# make demo    the main job on the embedded simulator
# make test    the tests
# make check   ruff, mypy --strict, rendered code, wheel, guide
# make docs    the guide, in site/
# make interop the examples in all languages whose tools are here
# Each sets up what it needs in $(VENV).

PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
PIP = $(PY) -m pip install --quiet --disable-pip-version-check

# A link, a heading or a name that is not there is an error.
GUIDE = $(PY) -m sphinx --quiet --fail-on-warning --keep-going --fresh-env docs site/html

.PHONY: demo test check docs interop notebook regenerate bench bench-compare fuzz clean

demo: $(VENV)/base.stamp
	@$(VENV)/bin/futu-si demo
	@echo
	@$(VENV)/bin/moomoo-si demo

test: $(VENV)/test.stamp $(VENV)/compat.stamp
	$(PY) -m pytest -n 2 -q $(ARGS)

check: $(VENV)/test.stamp $(VENV)/lint.stamp $(VENV)/docs.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m codegen --check
	$(PY) -m pytest -q tests/package/test_the_wheel_is_what_users_get.py
	$(GUIDE)

docs: $(VENV)/docs.stamp
	$(GUIDE)
	@echo site/html/index.html

# make interop ARGS="--opend HOST:PORT --websocket ws://HOST:PORT" runs them against a server that is there.
# It says at the end what ran, with which tools, and what did not, and why.
interop: $(VENV)/test.stamp
	$(PY) -m pytest -q tests/interop -o "python_files=interop_*.py" $(ARGS)

# Executes the notebook on the simulator and writes what it shows.
notebook: $(VENV)/test.stamp
	$(PY) -m docs.examples docs/research.ipynb

# make regenerate ARGS="--protos DIR" takes the protos of a folder.
regenerate: $(VENV)/test.stamp
	$(PY) -m codegen $(ARGS)

# Three minutes; ARGS=--write keeps the figures and writes them into docs/performance.md and README.md.
bench: $(VENV)/test.stamp
	$(PY) -m benchmarks $(ARGS)

# The same, against the figures that were kept, as shares of the floors.
bench-compare: $(VENV)/test.stamp
	$(PY) -m benchmarks --compare

# make fuzz ARGS="replies --count 1000000" feeds one target.
fuzz: $(VENV)/test.stamp
	$(PY) -m tests.stress.fuzz $(ARGS)

clean:
	rm -rf $(VENV) site

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one with make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	@touch $@

$(VENV)/base.stamp: $(VENV)/python.stamp pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/base.stamp
	$(PIP) --editable ".[all]" --group test
	@touch $@

$(VENV)/lint.stamp: $(VENV)/base.stamp
	$(PIP) --group lint
	@touch $@

$(VENV)/docs.stamp: $(VENV)/base.stamp
	$(PIP) --group docs
	@touch $@

# What the tests run on besides what is installed, each in a folder of its own: protobuf releases, another protoc.
$(VENV)/compat.stamp: $(VENV)/python.stamp tests/protobuf-releases.txt pyproject.toml
	rm -rf $(VENV)/compat
	while read -r release; do \
	  $(PIP) --no-deps --target $(VENV)/compat/protobuf-$$release "protobuf==$$release.*" || exit 1; \
	done < tests/protobuf-releases.txt
	$(PIP) --no-deps --target $(VENV)/compat/grpcio-tools-1.71 "grpcio-tools==1.71.*"
	@touch $@
