# Every command that a person needs; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/django-do/bin:$(PATH)

.PHONY: help setup up down preview check secrets-check test prove benchmark benchmark-pool settings-docs policy-docs changes-docs

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing on this machine (tools, Python environment, Pulumi)
	@scripts/setup

up: setup ## start the local DigitalOcean, deploy the app to it, print its URL (needs root)
	@scripts/up

down: ## remove the local DigitalOcean and everything in it
	@command -v sandbox >/dev/null || { echo "make down: nothing is set up here; run \`make setup\` first" >&2; exit 1; }
	@sandbox down

preview: setup ## show what `pulumi up` of the stacks would do, without machines (no root needed)
	@scripts/preview

check: setup ## format, lint, types and unit tests
	@scripts/check

secrets-check: setup ## prove that state, outputs, logs, user data and process lists hold no secret in plain (no root needed)
	@scripts/secrets-check

test: setup ## everything that CI checks (needs root for the depth "full")
	@scripts/test

prove: setup ## run the rows of the long tables that have no result yet, and write it down (an hour in all, no root)
	@scripts/prove

settings-docs: setup ## write the table of settings in README.md from their models
	@.venv/bin/python -m operations settings docs

policy-docs: setup ## write docs/policy.md from the policy pack
	@.venv/bin/python -m operations policy docs > docs/policy.md

changes-docs: setup ## write docs/changes.md: change every setting and see what happens (6 minutes, no root)
	@UPDATE_CHANGES=1 .venv/bin/pytest tests/changes

benchmark: setup ## measure what benchmarks/ asks, and print it with the machine
	@benchmarks/run

benchmark-pool: setup ## measure what DigitalOcean's pool tutorial does, in the sandbox (35 minutes, needs root)
	@benchmarks/run pool
