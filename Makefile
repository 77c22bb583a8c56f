# make app    install what is missing, open the app on localhost:8501
# make test   the whole test suite
# make lint   ruff and strict mypy
# make bench  the speed table (two cores, arms interleaved)
# make gpu    the tests that need an NVIDIA GPU
#
# PYTHON=python3.12 picks the interpreter, WORKERS=4 the number of test processes.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
PY := $(VENV)/bin/python
APP_READY := $(VENV)/.ready-app
DEV_READY := $(VENV)/.ready-dev

.PHONY: app test lint gpu bench install install-dev

app: $(APP_READY)
	@$(PY) -m streamlit run app.py

# One torch thread per worker: with more, the workers fight over the cores.
test: $(DEV_READY)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile

lint: $(DEV_READY)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

bench: $(APP_READY)
	@OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(PY) -m dcp bench

gpu: $(DEV_READY)
	@if ls tests/gpu/test_*.py >/dev/null 2>&1; then $(PY) -m pytest tests/gpu; \
	else echo "make gpu: there are no GPU tests yet (tests/gpu is missing); the engine runs on CPU" >&2; exit 2; fi

install: $(APP_READY)
install-dev: $(DEV_READY)

# PyPI's Linux wheel of torch brings several GB of CUDA libraries. Where no NVIDIA GPU answers,
# PyTorch's own index has the CPU wheel; where that index cannot be reached, pip decides.
$(APP_READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make app PYTHON=python3.12")'
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@index=""; url=https://download.pytorch.org/whl/cpu; \
	if [ "$$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1 && \
	   $(PY) -c "import urllib.request as r; r.urlopen('$$url/torch/', timeout=5)" >/dev/null 2>&1; \
	then index="--extra-index-url $$url"; fi; \
	$(PY) -m pip install $$index "$$(grep '^torch==' requirements.txt)"
	@$(PY) -m pip install -r requirements.txt
	@$(PY) -m pip install --no-deps -e .
	@touch $@

$(DEV_READY): $(APP_READY) requirements-dev.txt
	@$(PY) -m pip install -r requirements-dev.txt
	@touch $@
