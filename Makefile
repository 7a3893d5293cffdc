# The names that CI, README and CONTRIBUTING use.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nodewatch-tui
export K8S_BIN ?= $(CACHE)/kubernetes-1.20.2
export CLUSTER_DIR ?= /tmp/nodewatch-cluster
IMAGE ?= nodewatch-agent:$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# Screens show local time; the tests hold them in UTC.
export TZ = UTC

.PHONY: help run build test lint checkov test-cluster cluster-up cluster-down bench image pictures deps deps-cluster

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

build:
	@tests/deps.sh build
	cargo build --quiet

run: build ## watch this machine: ports and packets, no cluster needed
	TZ= cargo run --quiet --bin nodewatch-tui -- --local

lint: deps ## formatting, clippy, shell scripts
	cargo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	! command -v shellcheck >/dev/null || shellcheck tests/*.sh tests/cluster/*.sh .ci/run

checkov: deps ## the manifests against Checkov's rules; skips and their reasons are in SECURITY.md
	PYTHONPATH=$(CACHE)/checkov python3 -m checkov.main --config-file manifests/.checkov.yaml

test: lint checkov ## everything that needs no cluster; real packets where root allows
	cargo nextest run --workspace

test-cluster: deps-cluster ## a real cluster, or the one that KUBECONFIG names
	tests/cluster/run.sh

cluster-up: deps-cluster ## leaves a real two-node cluster running for hands-on use
	tests/cluster/run.sh up

cluster-down: ## removes it
	tests/cluster/cluster.sh down

bench: deps ## speed and memory beside ss, tcpdump, aws s3 cp, mergecap; with a cluster up, the first packet too
	cargo build --release --quiet --workspace
	cargo bench --quiet -p nodewatch-agent --bench node
	cargo bench --quiet -p nodewatch-tui --bench screens
	cargo bench --quiet -p nodewatch-tui --bench captures
	cargo bench --quiet -p nodewatch-tui --bench cluster
	tests/cluster/first-packet.sh

image: ## the agent image, static, from scratch
	docker build -f agent/Dockerfile -t $(IMAGE) .

pictures: build ## assets/ from the program's own frames
	cargo run --quiet --example pictures

# What Debian lacks, and Garage and moto for the tests of S3, is installed when make runs as root; elsewhere the missing program is named.
deps:
	@tests/deps.sh test

deps-cluster: deps
	@tests/deps.sh cluster
