# make demo   from nothing to two trained and compared models on the generated mini corpus: hybrid+, the paper's,
#             and hybrid+ annealed
# make demo3  the same under ESPnet3, into egs3/ (needs Python 3.12: PYTHON=python3.13 VENV=.venv-3.13)
# make page   the demo page, to try a trained model with your voice on this computer; its words are the ten digits.
#             Opens a browser where there is a display
# make picture   docs/page.jpg, which README shows, of the demo page; needs Chromium
# make test   the unit tests, on all processors
# make contribution   what a pull request to ESPnet would bring, tested as ESPnet's CI does: with both recipes where
#             ESPnet3 is; three minutes
# make lint   ruff, mypy (types of the model), vulture (unused code), shellcheck, tests/prose.py for the text, the
#             subjects of commits and the number of lines, side by side
# make hooks  lets git check what you commit, in a few seconds
# make env    only the Python environment
# make docs   the documentation's site, in docs/_build/html
# make faults   kills every stage of the recipe some 375 times, and Dask's workers 100 times where Dask is, and
#             compares the results; a quarter of an hour
# make bench  measures every claim about speed; prints tables; ten minutes
# make audit  known vulnerabilities of the tested set, by pip-audit; asks PyPI about every package
# make lock   constraints/py311.lock, the tested set with hashes, by uv
# make licences  what each package of the tested set says of its licence, in build/licences.md, by pip-licenses
# make release   sdist and wheel, checked and tried in a fresh environment (dist/)
# make clean  remove what the recipe made (data, dump, exp, downloads); the environment stays
#
# PYTHON=/path/to/python3   interpreter for the environment (3.10 to 3.13; default python3)
# VENV=directory            folder of the environment (default .venv)
# TORCH=cpu                 PyTorch without CUDA in a new environment, from PyTorch's own package index;
#                           also cu126, rocm6.4, ...; TORCH_INDEX=URL names another index that has it
# ONLY=hybrid_plus          make demo trains only this model, make page shows this model of make demo; also
#                           hybrid_plus_annealed
# ARGS="..."                more options: for pytest (make test), run.sh (make demo), the demo page (make page), the kills
#                           (make faults: --help says which), the benchmarks (make bench), pip-audit (make audit)

PYTHON ?= python3
VENV ?= .venv
TORCH ?=
TORCH_INDEX ?=
ONLY ?=
ARGS ?=
RECIPE := egs2/speechclip_plus

venv := $(abspath $(VENV))
python := $(venv)/bin/python
# what an interrupted or outdated installation is recognised by
stamp := $(venv)/.complete$(addprefix -,$(TORCH))

.PHONY: help env demo demo3 page picture page-index test contribution faults bench lint hooks docs audit lock licences release clean
.DEFAULT_GOAL := help

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

env: $(stamp)

$(stamp): setup.cfg pyproject.toml $(wildcard constraints/*.txt)
	@tools/set_up.sh "$(PYTHON)" "$(VENV)" $(if $(TORCH),"$(TORCH)" $(if $(TORCH_INDEX),"$(TORCH_INDEX)"))

demo: $(stamp)
	@cd $(RECIPE) && SPEECHCLIP_CALLED_FROM="$(CURDIR)" scripts/demo.sh --only "$(ONLY)" --python "$(python)" $(ARGS)

# everything but the upload
TRAINING3 ?= conf/training_mini.yaml
STAGES3 := create_dataset embed_images make_vocabulary collect_stats train infer measure pack_model
demo3: $(stamp)
	@$(python) -c 'import espnet3' || { echo "demo3: ESPnet3 needs Python 3.12: make demo3 PYTHON=python3.13 VENV=.venv-3.13" >&2; exit 1; }
	@echo "demo3: corpus, small CLIP, small HuBERT, training, evaluation under ESPnet3"
	@cd egs3/speechclip_plus && PYTHONPATH="$(CURDIR)" $(python) run.py --training_config $(TRAINING3) \
		--inference_config conf/inference_mini.yaml --metrics_config conf/metrics_mini.yaml \
		--publication_config conf/publication.yaml --stages $(STAGES3)
	@echo "demo3: egs3/speechclip_plus/exp/mini_hybrid_plus/inference_mini/{report.html,RESULTS.md,scores.json}"

page picture: experiment := exp/speechclip_mini_$(ONLY)
page picture: model := $(if $(ONLY),$(experiment)/model,models/digits)
page picture: corpus := $(if $(ONLY),mini$(addprefix _seed,$(word 2,$(subst _seed, ,$(ONLY)))),digits)
page picture: examples := $(if $(ONLY),data/$(corpus)_test,models/digits/examples)
page picture: images := downloads/$(corpus)/images
page picture: index := exp/$(if $(ONLY),$(ONLY),digits)_pictures.index
page picture: catalog := $(index)/catalog.sqlite
page: page-index
	@cd $(RECIPE) && $(python) -m espnet_plugin.bin.speechclip demo --index $(index) --data $(examples) $(ARGS)

picture: page-index
	@cd $(RECIPE) && PYTHONPATH="$(CURDIR)" $(python) -m tests.page_picture --index $(index) --data $(examples)

page-index: $(stamp)
	@cd $(RECIPE) && { test -e $(model) || { echo "page: $(model) is missing; run make demo first" >&2; exit 1; }; }
	@cd $(RECIPE) && { { test -d $(images) && test $(catalog) -nt $(images) && test $(catalog) -nt $(model); } || { \
		$(if $(ONLY),true,PYTHONPATH="$(CURDIR)" $(python) -m local.digits.strings) \
		&& $(python) -m espnet_plugin.bin.speechclip index $(images) --model $(model) --index $(index) --force \
		&& touch $(catalog); }; }

test: $(stamp)
	@echo "test: running the tests with $$($(python) --version)"
	@OMP_NUM_THREADS=1 $(python) -m pytest -n auto --dist loadfile --no-loadscope-reorder --deselect $(CONTRIBUTION) $(ARGS)

CONTRIBUTION := tests/tools/test_espnet_contribution.py
contribution: $(stamp)
	@OMP_NUM_THREADS=1 $(python) -m pytest -q $(CONTRIBUTION) $(ARGS)

lint: $(stamp)
	@$(python) -m tests.lint $(ARGS)

hooks: $(stamp)
	@git config core.hooksPath tools/hooks && git config speechclip.venv "$(venv)"
	@echo "hooks: a commit is checked from now on; git commit --no-verify passes the checks over"

docs: $(stamp)
	@$(python) -m sphinx -q -b html -W --keep-going docs docs/_build/html
	@! grep -rnE '<(script|img|source|iframe)[^>]* src="(https?:)?//|<link[^>]*stylesheet[^>]*"(https?:)?//' --include='*.html' \
		docs/_build/html || { echo "docs: the site loads files from another host" >&2; exit 1; }
	@echo "docs: docs/_build/html/index.html"

faults: $(stamp)
	@work=$$(mktemp -d) && echo "faults: kills, in $${work}" \
		&& OMP_NUM_THREADS=1 $(python) -m tests.faults.kill_recipe --work "$${work}/kills" $(ARGS) \
		&& { ! $(python) -c 'import distributed' 2> /dev/null || $(python) -m tests.faults.kill_workers --work "$${work}/workers"; }

bench: $(stamp)
	@for name in step recordings search; do \
		echo; echo "bench: benchmarks.$${name}"; $(python) -m benchmarks.$${name} $(ARGS) || exit 1; \
	done

# $(call tool,PACKAGE) is a package's command in an environment that goes when the line is done
tool = tools=$$(mktemp -d) && trap 'rm -rf "$${tools}"' EXIT && "$(PYTHON)" -m venv "$${tools}" \
	&& "$${tools}/bin/python" -m pip install -q --disable-pip-version-check $(1) && "$${tools}/bin/$(1)"

# the lock's hashes are compared, nothing is installed
audit:
	@$(call tool,pip-audit) --requirement constraints/py311.lock --require-hashes --disable-pip --strict $(ARGS)

lock:
	@$(call tool,uv) pip compile --quiet --upgrade --no-annotate --generate-hashes --custom-compile-command "make lock" \
		--python-version 3.11.2 --python-platform x86_64-manylinux_2_28 --extra all -c constraints/py311.txt \
		setup.cfg --output-file constraints/py311.lock $(ARGS)

licences: $(stamp)
	@mkdir -p build && $(call tool,pip-licenses) --python "$(python)" --from mixed --format markdown --order license \
		--packages $$(sed -n 's/^\([^ =]*\)==.*/\1/p' constraints/py311.lock) --output-file build/licences.md

release:
	@tools/release.sh "$(PYTHON)"

clean:
	rm -rf $(foreach recipe,$(RECIPE) egs3/speechclip_plus,$(addprefix $(recipe)/,data dump exp downloads)) .pytest_cache .ruff_cache .mypy_cache docs/_build docs/repository
