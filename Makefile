# Every target sets up what it needs by itself: python3, git and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test check lint types floors format smoke notebook export-matrix bench bench-noise bench-speed \
	bench-graphs bench-growth bench-scheduler bench-check bench-baseline bench-tuning bench-constant bench-branches bench-scripts \
	bench-script-picks bench-several bench-batches test-ray bench-ray bench-scale lost-ranks test-lowest test-newest \
	kills every-fault restoration coverage mutation fuzz clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## create .venv with everything for development

# Run without what they import (torchvision, torchao, triton, ...), from a folder that is not on Python's path:
# transformers and accelerate change their ways where they find DeepSpeed. The last four are what MMEngine needs.
FRAMEWORKS := timm==1.0.31 deepspeed==0.19.8 torchtune==0.6.1 axolotl==0.19.0 mmengine==0.10.7 \
	addict==2.4.0 yapf==0.43.0 termcolor==3.2.0 platformdirs==4.5.0

# fastai's own dependencies include torchvision and spacy, which nothing here uses: the `peers` extra lists the rest.
FASTAI := fastai==2.8.12
$(STAMP): pyproject.toml tests/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(FASTAI)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/frameworks $(FRAMEWORKS)
	touch $@

# Three at once: on two cores 12:42 instead of 15:51, since many tests wait for processes and signals. Several hundred
# start one that imports lrfinder: with its byte code kept, wherever it isn't by default, each has it 0.3 s earlier.
# More threads than cores only wait for each other: with one each 225 tests of the engine take 42 s instead of 51.
TEST_ENVIRONMENT := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1
TEST_PROCESSES := -n 3 --dist worksteal
test: check  ## set up, then run lint, types, import floors and the whole test suite
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest $(TEST_PROCESSES)

check: lint types floors  ## lint, types, import floors

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

floors: $(STAMP)
	$(BIN)/lint-imports

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An environment of its own for the demo: lrfinder and what it needs, no frameworks, no peers, no tools for development.
DEMO_VENV := .venv-demo
DEMO_BIN := $(DEMO_VENV)/bin
DEMO_STAMP := $(DEMO_VENV)/.installed
DEMO_TORCH := $(DEMO_VENV)/lib/python3*/site-packages/torch

# Say $(1) every five seconds while the command that follows runs: pip is silent while it unpacks torch.
news = (n=0; while sleep 1 && kill -0 $$$$ 2>/dev/null; do n=$$((n + 1)); test $$((n % 5)) -gt 0 || echo "... $(1)"; done) &
SIZE := $$(du -sm $(DEMO_VENV) 2>/dev/null | cut -f1) MB in $(DEMO_VENV)

# Without 190 MB that torch carries for its own tests and for building C++ extensions, and without the byte code of what
# is never imported. (torch.compile on a CPU needs those headers: `pip install .` beside a whole torch has them.)
$(DEMO_STAMP): pyproject.toml tests/constraints.txt
	@echo "Making $(DEMO_VENV): some 800 MB, most of it torch."
	@$(call news,$(SIZE)) test -x $(DEMO_BIN)/python || $(PYTHON) -m venv $(DEMO_VENV)
	@$(call news,$(SIZE)) $(DEMO_BIN)/python -m pip install --no-compile --constraint tests/constraints.txt \
		torch==2.13.0 --editable .
	rm -rf $(DEMO_TORCH)/test $(DEMO_TORCH)/include $(DEMO_TORCH)/bin/*[tT]est* $(DEMO_TORCH)/bin/protoc*
	@echo "Importing torch for the first time:"
	@$(call news,$(SIZE)) $(DEMO_BIN)/python -c "import gc; gc.disable(); import torch._dynamo, matplotlib.figure"
	@touch $@

# The whole job on a real data set: sweep, recommend, write the config, then train with and without it.
DEMO := lrfinder-runs/demo
DEMO_EPOCHS := 10
demo: $(DEMO_STAMP)  ## sweep, recommend and train on handwritten digits, from nothing, in .venv-demo
	rm -rf $(DEMO)
	@test -t 1 || $(call news,sweeping) $(DEMO_BIN)/lrfinder sweep configs/digits.py --out $(DEMO)
	$(DEMO_BIN)/lrfinder recommend $(DEMO) --epochs $(DEMO_EPOCHS)
	@echo
	@echo "Training twice for $(DEMO_EPOCHS) epochs:"
	@$(call news,training) $(DEMO_BIN)/python configs/train_digits.py --epochs $(DEMO_EPOCHS) \
		--config $(DEMO)/schedule.yaml --default-too
	@echo
	@echo "The curve: $(DEMO)/curve.png. To go on with your own model, in this environment:"
	@echo "source $(DEMO_BIN)/activate"

# The lowest and the newest versions that pyproject.toml allows, of lrfinder's dependencies and of the frameworks, each in
# an environment of its own (7 GB, most of it CUDA's libraries, which torch wants whatever the machine has). PYTHON names
# another Python. What can't be installed there is skipped, and named; other people's deprecations are no failures here.
# Ray comes last, by itself: on Python 3.13 no process in which it ran can fork a loader's workers any more.
VERSIONS_OPTIONS := -q -p no:cacheprovider -o filterwarnings=default --skip-absent
versions_test = $(1)/bin/python -m pip install --quiet --no-compile --no-deps $(FASTAI) \
	&& $(1)/bin/python -m pip install --quiet --no-compile --no-deps --upgrade --target $(1)/frameworks $(FRAMEWORKS) \
	&& $(TEST_ENVIRONMENT) $(1)/bin/python -m pytest $(TEST_PROCESSES) $(VERSIONS_OPTIONS) --ignore tests/api/on_ray \
	&& $(TEST_ENVIRONMENT) $(1)/bin/python -m pytest $(VERSIONS_OPTIONS) tests/api/on_ray

test-lowest:  ## the suite on the lowest versions that pyproject.toml allows
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python tests/helpers/versions.py lowest > .venv-lowest/versions.txt
	.venv-lowest/bin/python -m pip install --quiet --no-compile --editable . --requirement .venv-lowest/versions.txt
	$(call versions_test,.venv-lowest)

test-newest:  ## the suite on the newest versions that there are
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python tests/helpers/versions.py newest > .venv-newest/versions.txt
	.venv-newest/bin/python -m pip install --quiet --no-compile --upgrade --upgrade-strategy eager --editable . \
		--requirement .venv-newest/versions.txt
	$(call versions_test,.venv-newest)

smoke: $(STAMP)  ## the CI check of this project's own example: is its configured rate still sane?
	$(BIN)/lrfinder check configs/digits.py --config configs/schedules/digits.yaml

notebook: $(STAMP)  ## execute the example notebook, and store its outputs in it
	$(BIN)/python tests/helpers/notebook.py configs/example.ipynb

export-matrix: $(STAMP)  ## run every exported schedule in its framework; prints the largest difference from f(t)
	$(BIN)/python tests/export/matrix.py

bench-scheduler: $(STAMP)  ## what a step of the scheduler costs, beside torch's LambdaLR
	$(BIN)/python tests/benchmarks/scheduler_step.py

# Three hours on two cores; what is measured already is kept, so an interrupted benchmark goes on where it was.
BENCH := lrfinder-runs/bench
bench: $(STAMP)  ## regret of our rates and the peers' against oracles of real training runs; prints the tables
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	mkdir -p $(BENCH)
	$(BIN)/python tests/benchmarks/run.py $(BENCH)/400.jsonl --per-task
	$(BIN)/python tests/benchmarks/run.py $(BENCH)/1600.jsonl --steps 1600 --per-task
	$(BIN)/python tests/benchmarks/run.py $(BENCH)/own.jsonl --tasks tests/benchmarks/own/tasks --only lrfinder --per-task
	$(BIN)/python tests/benchmarks/run.py $(BENCH)/plateaus.jsonl --tasks tests/benchmarks/plateaus/tasks \
		--seeds 10 11 12 --per-task

calibration: $(STAMP)  ## what is stated of verified rates against oracles, runs of 400 to 25,600 updates; prints the tables
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python tests/benchmarks/calibration.py lrfinder-runs/calibration

bench-noise: $(STAMP)  ## what is said if there is nothing to learn; fails if a rate is confident
	$(BIN)/python tests/benchmarks/noise.py --steps 400
	$(BIN)/python tests/benchmarks/noise.py

TASKS := tests/benchmarks/tasks/*.py tests/benchmarks/own/tasks/*.py
bench-check: $(STAMP)  ## how often `lrfinder check` cries wolf, and how often it sees a planted fault
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python tests/benchmarks/checks.py $(TASKS) --seeds 20

bench-baseline: $(STAMP)  ## how often `check --baseline` cries wolf, and whether it sees updates ten times off
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python tests/benchmarks/band_shifts.py $(TASKS)

# Five minutes on a core; what is measured already is kept.
bench-tuning: $(STAMP)  ## the rate for fine-tuning, in full and by adapters, beside the usual constants
	$(BIN)/python tests/benchmarks/tuning.py $(BENCH)/tuning.jsonl

# Ten and twenty minutes on a core; what is measured already is kept.
bench-constant: $(STAMP)  ## the best rate of a run that keeps it constant, beside the best of one that decays
	$(BIN)/python tests/benchmarks/constant.py $(BENCH)/constant.jsonl

bench-branches: $(STAMP)  ## trunks with branches beside the separate trials of verify, at equal updates
	$(BIN)/python tests/benchmarks/branches.py $(BENCH)/branches.jsonl

kills: $(STAMP)  ## kill 200 real sweeps at random moments; says what survived
	$(BIN)/python tests/benchmarks/kills.py

restoration: $(STAMP)  ## what is as it was after a sweep, by lrfinder and two other finders; prints the table
	$(BIN)/python tests/benchmarks/restoration.py

# Without what runs in other processes or needs CUDA: what those alone reach counts as not covered.
coverage: $(STAMP)  ## branch coverage of the engine and the store; fails below 95 %
	$(BIN)/python -m pytest -q --cov --cov-report term-missing tests/engine tests/api tests/task tests/fuzz tests/bad \
		tests/test_store.py tests/test_run_log.py tests/faults/test_disk_calls.py

# Of nearly 5,000 small changes; 800 of them take two hours on two cores, SAMPLE=0 means all.
SAMPLE := 800
LONGEST := inf
SEED := 0
mutation: $(STAMP)  ## change fit, engine and store in SAMPLE=800 small ways; says what share the tests notice
	$(BIN)/python -m pip install --quiet mutmut==3.8.1
	$(BIN)/python tests/benchmarks/mutation.py --sample $(SAMPLE) --longest $(LONGEST) --seed $(SEED)

# atheris is no dependency of anything else: it has wheels for few versions of Python.
MINUTES := 10
fuzz: $(STAMP)  ## fuzz what reads run folders and configs, for MINUTES=10
	$(BIN)/python -m pip install --quiet atheris==3.0.0
	$(BIN)/python tests/benchmarks/fuzz.py --minutes $(MINUTES)

lost-ranks: $(STAMP)  ## fail on each rank of real two-process sweeps in each way that a process can
	$(BIN)/python tests/benchmarks/lost_ranks.py

# Three hours on one core; what is measured already is kept.
BATCHES := $(addprefix tests/benchmarks/,$(addprefix tasks/,digits_mlp_sgd.py digits_logistic_sgd.py friedman_mlp_adam.py \
	digits_deep_relu_sgd.py digits_cnn_bn_sgd.py digits_autoencoder_rmsprop.py digits_lstm_adam.py mnist1d_conv_adam.py) \
	$(addprefix own/tasks/,diabetes_large_loss_adam.py digits_vae_adam.py digits_finetune_sgd.py \
	digits_patches_transformer_adamw.py digits_mlp_adagrad.py friedman_mlp_adagrad.py) \
	$(addprefix long/tasks/,stream_teacher_adamw.py stream_clusters_sgd.py stream_markov_adam.py \
	stream_skewed_logistic_sgd.py stream_shapes_cnn_sgd.py stream_pairs_embedding_adam.py))
bench-batches: $(STAMP)  ## how the best rate follows the batch, in real training, beside what is worked out
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	mkdir -p $(BENCH)
	$(BIN)/python tests/benchmarks/batches.py $(BENCH)/batches.jsonl $(BATCHES)

bench-several: $(STAMP)  ## a sweep's update on two processes beside a bare DDP loop's on the same ones
	$(BIN)/torchrun --standalone --nproc-per-node 2 tests/benchmarks/several.py

bench-scripts: $(STAMP)  ## an update of a script under `lrfinder run` and in a sweep, over the plain script's
	$(BIN)/python tests/benchmarks/script_overhead.py

bench-script-picks: $(STAMP)  ## the pick from a training script beside that from the same training as a model file
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python tests/benchmarks/script_picks.py $(TASKS)

test-ray: $(STAMP)  ## trials on Ray, which fail in more ways than in the suite
	LRFINDER_EVERY_FAULT=1 $(BIN)/python -m pytest -q tests/api/on_ray tests/api/test_group.py

bench-ray: $(STAMP)  ## what Ray adds to a trial, and what a second worker gains
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/ray_trials.py

bench-scale: $(STAMP)  ## 1,000 trials on 64 to 1,024 pretended devices: where our scheduling and the store saturate
	$(BIN)/python tests/benchmarks/cluster_scale.py

every-fault: $(STAMP)  ## fail or kill at every single system call of real sweeps that writes
	LRFINDER_EVERY_FAULT=1 $(BIN)/python -m pytest -q --timeout 3600 tests/faults/test_disk.py

# Half an hour on two cores; best on a machine that does nothing else. A part: python tests/benchmarks/speed.py --help
bench-speed: $(STAMP)  ## our sweep beside a bare loop and the peers' on the same updates; prints time and memory
	$(BIN)/python tests/benchmarks/speed.py
	$(BIN)/python tests/benchmarks/overhead.py
	$(BIN)/python tests/benchmarks/snapshot.py
	$(BIN)/python tests/benchmarks/at_once.py

bench-graphs: $(STAMP)  ## what CUDA graphs save on a CUDA device, over a bare loop
	$(BIN)/python tests/benchmarks/graphs.py

bench-growth: $(STAMP)  ## how our own cost grows with parameters, updates, param groups, repeats and trials; draws it
	$(BIN)/python tests/benchmarks/growth.py --large

clean:  ## remove what the targets made
	rm -rf $(VENV) $(DEMO_VENV) .venv-lowest .venv-newest lrfinder-runs mutants build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
