# Every target does its own set-up: a virtual environment in .venv with the exact versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format type-check bench backbone clean

demo: $(VENV)/.installed
	$(BIN)/datus2 demo --out demo

# One process takes the tests on Ray and then the types, another all other tests, whose output follows at the end; it is
# as nice as the processes of Ray, which would wait for it otherwise. Tests of the explorer's page need chromium and
# chromedriver (apt-get install chromium chromium-driver); without them they are skipped, with the reason.
test: lint
	nice -n 15 $(BIN)/pytest -m "not on_ray" >.pytest-others.log 2>&1 & \
	others=$$!; \
	$(BIN)/pytest -m on_ray; status=$$?; \
	$(BIN)/mypy || status=1; \
	wait $$others || status=1; cat .pytest-others.log; exit $$status

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type-check: $(VENV)/.installed
	$(BIN)/mypy

# Every ratio and second of docs/performance.md, on rendered scenes or, better, make bench IMAGES=FOLDER (400 or more).
IMAGES ?= bench/images
bench: $(VENV)/.installed
	test -d $(IMAGES) || $(BIN)/python -c "from pathlib import Path; from datus2_ray.demo.write import write_demo; write_demo(Path('bench'), 1000)"
	$(BIN)/pip install --quiet igraph==1.0.0 faiss-cpu==1.15.1
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/passes.py
	$(BIN)/python benchmarks/steps.py $(IMAGES)
	$(BIN)/python benchmarks/louvain.py $(IMAGES) --images 12
	$(BIN)/python benchmarks/kmeans.py $(IMAGES) --rows 150000
	$(BIN)/python benchmarks/refinement.py --images 48
	$(BIN)/python benchmarks/pipeline.py --images 96
	$(BIN)/python benchmarks/scale.py $(IMAGES) --counts 250 500 1000
	$(BIN)/python benchmarks/explorer.py

# Trains the backbone that comes with the package: make backbone DATA=FOLDER (see datus2_ray/weights/README.md).
# Interrupted, the same command goes on from the last checkpoint.
RECIPE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
WEIGHTS := datus2_ray/weights/datus2-vit-tiny-8
backbone: $(VENV)/.installed
	@test -n "$(DATA)" || { echo "give the folder of the training images: make backbone DATA=FOLDER"; exit 2; }
	$(BIN)/python backbone/collect.py $(DATA) backbone/images
	$(BIN)/datus2 pretrain backbone/images --out backbone/run --config backbone/$(RECIPE).yaml
	cp backbone/run/pretrain/*/backbone.safetensors $(WEIGHTS).safetensors
	cp backbone/run/pretrain/*/backbone.json $(WEIGHTS).json
	$(BIN)/python benchmarks/backbone.py $(DATA)
	$(BIN)/python backbone/picture.py docs/backbone.png

clean:
	rm -rf demo bench backbone/images backbone/run build dist .mypy_cache .ruff_cache .pytest_cache .pytest-others.log .hypothesis .moto .moto.lock .readers

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
