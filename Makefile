# The few words of this project. Everything goes into .venv and .cache in this folder.
PYTHON ?= python3
BOOTSTRAP := $(PYTHON) tools/bootstrap.py
VENV := .venv/bin/python

.PHONY: demo test cluster docs bench soak storm fuzz lint format clean

demo:  ## JupyterLab on the quickstart notebook; Ctrl-C ends it
	@$(BOOTSTRAP)
	@exec $(VENV) -m tools.demo

test:  ## everything: lint, types, contracts, tests with real Docker, Compose, Kubernetes and a browser
	@$(BOOTSTRAP) dev test
	-@$(VENV) -m tools.rig install
	-@$(VENV) -m tools.rig cluster install
	@$(VENV) -m tools.lint; lint=$$?; $(VENV) -m pytest $(ARGS) && exit $$lint

bench:  ## the figures, each beside its floor
	@$(BOOTSTRAP) dev test
	-@$(VENV) -m tools.rig install
	-@$(VENV) -m tools.rig cluster install
	@exec $(VENV) -m benchmarks $(ARGS)

storm:  ## many thousand random operations on the files while containers die; at rest nothing may be missing
	@$(BOOTSTRAP) dev test
	-@$(VENV) -m tools.rig install
	@exec $(VENV) -m tests.storm $(ARGS)

soak:  ## an hour of five saves a second; ARGS=300 for 300 seconds, ARGS="--idle 600" to leave it alone. What the process holds at the start and at the end
	@$(BOOTSTRAP) dev test
	-@$(VENV) -m tools.rig install
	@exec $(VENV) -m benchmarks.soak $(ARGS)

fuzz:  ## 20,000 mutated Tiltfiles; ARGS="--seed 7 --count 500" for others. What ends badly is kept as a test
	@$(BOOTSTRAP) dev test
	@exec $(VENV) -m tests.fuzz $(ARGS)

cluster:  ## a Kubernetes cluster of one node, until `python -m tools.rig cluster down`; prints its kubeconfig
	@$(BOOTSTRAP) dev test
	@exec $(VENV) -m tools.rig cluster up

docs:  ## docs/builtins.md, from the builtins themselves
	@$(BOOTSTRAP) dev test
	@exec $(VENV) -m tools.builtins_page

lint:
	@$(BOOTSTRAP) dev test
	@exec $(VENV) -m tools.lint

format:
	@$(BOOTSTRAP) dev test
	@$(VENV) -m ruff format .
	@$(VENV) -m ruff check --fix .

clean:
	-@test ! -x $(VENV) || $(VENV) -m tools.rig down
	-@test ! -x $(VENV) || $(VENV) -m tools.rig cluster down
	rm -rf .venv .cache test-artifacts .hypothesis ipytilt/labextension
	rm -rf labextension/lib labextension/node_modules labextension/tsconfig.tsbuildinfo
