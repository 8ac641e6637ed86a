# To start: `make app`, `make demo`, `make book` (README.md). docs/install.md has the same steps without make.

PYTHON ?= python3
PY := .venv/bin/python
# uv, where it is installed, installs in seconds what takes pip a minute. Neither compiles the packages' Python ahead,
# which takes another: Python itself does that for what is used, at first use, and keeps it.
unexport PYTHONDONTWRITEBYTECODE
UV := $(shell command -v uv)
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(PY),$(PY) -m pip install --quiet --no-compile)
PYTEST := $(PY) -m pytest
# Two processes; a file's tests stay together, as what they share is made once.
TWO := -n 2 --dist loadfile --no-loadscope-reorder
NOTEBOOKS := $(sort $(wildcard [0-9]_*.ipynb)) $(wildcard train_jupyter_keras.ipynb)

# Empty for a Python that works, else one line that says which do. For 3.13, bcolz has to be compiled.
WRONG_PYTHON = $(shell $(PYTHON) -c 'import os, shutil, sys, sysconfig; v = sys.version_info[:2]; \
	compiles = shutil.which("cc") and os.path.exists(sysconfig.get_path("include") + "/Python.h"); \
	print("" if (3, 11) <= v <= (3, 12) or v == (3, 13) and compiles \
	else "Python 3.13 takes a C compiler and the headers of Python, as bcolz has no wheel for it: install them (Debian: \
	gcc, python3-dev), or make demo PYTHON=python3.12" if v == (3, 13) \
	else "Python %d.%d is not supported: use 3.11, 3.12 or 3.13, for example make demo PYTHON=python3.12" % v)' \
	2>/dev/null || echo "$(PYTHON) does not run: install Python 3.11, 3.12 or 3.13")

.PHONY: demo app data test test-all recordings course book figures lint lab tensorboard

demo: .venv/ready
	@test -d data/raw/train/audio || $(PY) -m utils.voices
	$(PY) -m utils.prepare
	$(PY) train_keras.py --logrun demo
	@echo
	@echo "A test clip of six labels, and one more that it heard wrong: what was said, what was heard, how sure"
	@heard=$$($(PY) predict.py --model runs/demo --said data/main/test/*/*.wav) && echo "$$heard" | awk '/wav/ { \
		row = sprintf("%s %-56s %-9s%-9s%s %s %s", $$2 == $$3 ? " " : "✗", $$1, $$2, $$3, $$4, $$5, $$6); \
		if (index(" yes left stop go silence unknown ", " " $$2 " ") && !seen[$$2]++) print row; \
		else if ($$2 != $$3 && !wrong) wrong = row \
	} END {print ""; print wrong ? wrong : "(no other was heard wrong)"}'
	@echo
	@echo "The model:    runs/demo/model.keras (scores in runs/demo/result.json)"
	@echo "Its curves:   make tensorboard, then open localhost:6006"
	@echo "Microphone:   make app, which opens localhost:7860"
	@echo "Next:         the notebooks, from 0_split_data.ipynb: make lab"
	@echo "Commands:     python predict.py ... after: source .venv/bin/activate"

# A page with a microphone on localhost:7860, which opens by itself; the network in pretrained/ answers where no run is.
app: .venv/ready-app
	$(PY) app.py

# Where recordings come from, and what each way needs.
data: .venv/ready
	@$(PY) -m utils.sources --help

# What tells in minutes whether a change broke something. Two processes that share two processors compute best on one
# thread each; what is slow runs with as many as a user has.
test: .venv/ready-dev lint
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 $(PYTEST) $(TWO) -m "not slow and not recordings"

# The rest: training to the end, kills, full disks, servers, browsers, the notebooks.
test-all: .venv/ready-dev
	$(PYTEST) $(TWO) -m "slow and not recordings"

recordings: .venv/ready-dev
	$(PYTEST) -m recordings

lint: .venv/ready-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m bandit --quiet --configfile pyproject.toml --recursive utils benchmarks .ci $(wildcard *.py)
	$(PY) -m codespell_lib *.md docs benchmarks pretrained/*.md page/*.js utils tests *.py *.ipynb

course: .venv/ready
	$(PY) .ci/run_notebooks.py $(NOTEBOOKS)

# The course as pages, in seconds. To hear the clips in them, first let make course execute the notebooks.
book: .venv/ready-book
	@test ! -e book -o -e book/html/.buildinfo || (echo "book is in the way, which make book did not make: move it away"; exit 2)
	rm -rf book
	$(PY) -m sphinx --fail-on-warning --quiet -c .ci/book -d book/doctrees . book/html
	@echo "The book: open book/html/index.html"

# The notebooks, for this computer alone, from the first; other people's programs on it cannot read along.
lab: .venv/ready
	$(PY) -m jupyter lab --ip 127.0.0.1 --KernelManager.transport_encryption=auto \
		--ZMQChannelsWebsocketConnection.websocket_ping_timeout=30000 0_split_data.ipynb

# The pictures in imgs/: of real recordings in data/raw, and of a run of each script.
figures: .venv/ready-dev
	$(PY) -m utils.prepare
	$(PY) .ci/make_figures.py
	$(PY) .ci/make_badges.py
	COURSE=full $(PY) .ci/run_notebooks.py 0_split_data.ipynb 1_visualize.ipynb 5_recognize.ipynb
	$(PYTEST) tests/test_page.py tests/test_tensorboard.py --photographs imgs --runs tf_logs

# TensorFlow comes in first, by the project's own way, which holds its notes on missing GPUs back; curves need none.
tensorboard: .venv/ready
	@CUDA_VISIBLE_DEVICES=-1 $(PY) -c "from utils.system import quiet; from tensorboard import main; main.run_main()" \
		--logdir tf_logs --host 127.0.0.1 --port 6006 --load_fast=false

.venv/ready: req.txt
	$(if $(strip $(WRONG_PYTHON)),$(error $(strip $(WRONG_PYTHON))))
	@echo "Installing into .venv: some minutes, 3 GB"
	$(if $(UV),$(UV) venv --quiet --allow-existing --seed --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)
	$(INSTALL) --upgrade "pip>=25.1"
	$(INSTALL) --requirement req.txt
	@touch $@

.venv/ready-app: .venv/ready pyproject.toml
	$(INSTALL) --group app
	@touch $@

.venv/ready-book: .venv/ready pyproject.toml
	$(INSTALL) --group book --group app
	@touch $@

# librosa compiles its functions at first use, for half a minute: once here, not in each process of the tests.
.venv/ready-dev: .venv/ready pyproject.toml
	$(INSTALL) --group dev
	$(PY) -c "from utils import augment; import numpy; augment.stretch(numpy.ones(16000, numpy.float32), 0.9)"
	@touch $@
