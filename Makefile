# The names that CI and the documentation use.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nodewatch-tui
export K8S_BIN ?= $(CACHE)/kubernetes-1.20.2
export CLUSTER_DIR ?= /tmp/nodewatch-cluster
IMAGE ?= nodewatch-agent:$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# Screens show local time; the tests hold them in UTC.
export TZ = UTC

.PHONY: help run build test lint advisories checkov fuzz test-cluster cluster-up cluster-down bench faults image pictures static deb dist deps deps-cluster

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

build:
	@tests/deps.sh build
	cargo build --quiet

run: build ## watch this machine: ports and packets, no cluster needed
	TZ= cargo run --quiet --bin nodewatch-tui -- --local

# Where there is one of the user's own, that one.
DENY = PATH="$$PATH:$(CACHE)/cargo-deny/bin"; ! command -v cargo-deny >/dev/null || cargo deny --log-level error check

lint: deps ## formatting, clippy, shell scripts, what dependencies may be
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	$(DENY) licenses bans sources
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	! command -v shellcheck >/dev/null || shellcheck tests/*.sh tests/cluster/*.sh fuzz/run.sh .ci/run

advisories: deps ## what RustSec knows of the dependencies; needs the internet
	$(DENY) advisories

checkov: deps ## the manifests against Checkov's rules; skips and their reasons are in SECURITY.md
	PYTHONPATH=$(CACHE)/checkov python3 -m checkov.main --config-file manifests/.checkov.yaml

test: lint checkov ## everything that needs no cluster; real packets where root allows
	cargo nextest run --workspace

FUZZ_SECONDS ?= 60
fuzz: ## the decoders and the readers of files against libFuzzer, each for FUZZ_SECONDS (60)
	@tests/deps.sh fuzz
	fuzz/run.sh $(FUZZ_SECONDS)

test-cluster: deps-cluster ## a real cluster, or the one that KUBECONFIG names; without one, faults first
	[ -n "$${KUBECONFIG:-}" ] || NODEWATCH_QUIET=180 $(MAKE) faults
	tests/cluster/run.sh

# One fault by a part of its name: NODEWATCH_FAULTS; variants of each: NODEWATCH_VARIANTS; seconds of what is well: NODEWATCH_QUIET.
faults: deps ## each cause made for real in namespaces, against the answer that is given; as root
	cargo build --quiet
	cargo test --quiet --test faults -- --ignored --nocapture

cluster-up: deps-cluster ## leaves a real two-node cluster running for hands-on use
	tests/cluster/run.sh up

cluster-down: ## removes it
	tests/cluster/cluster.sh down

bench: deps ## speed and memory beside ss, tcpdump, aws s3 cp, mergecap; with a cluster up, the first packet too
	cargo build --release --quiet --workspace
	cargo bench --quiet -p nodewatch-agent --bench node
	cargo bench --quiet -p nodewatch-answers --bench rules
	cargo bench --quiet -p nodewatch-tui --bench screens
	tests/first-frame.py target/release/nodewatch-tui --local -- kubectl version --client
	cargo bench --quiet -p nodewatch-tui --bench captures
	cargo bench --quiet -p nodewatch-tui --bench cluster
	tests/cluster/first-packet.sh

image: ## the agent image, static, from scratch
	docker build -f agent/Dockerfile -t $(IMAGE) .

pictures: build ## assets/ from the program's own frames: screenshots and the demo
	cargo run --quiet --example pictures

# glibc's resolver wants the system's own libraries even in a static program; musl's does not, so it is taken where it is.
TRIPLE ?= $(shell rustc -vV | sed -n 's/^host: //p')
STATIC = target/static
static: ## static programs for Linux, small, into target/static
	@tests/deps.sh static
	for package in nodewatch-agent nodewatch-tui; do \
	  RUSTFLAGS="-C target-feature=+crt-static" LIBPCAP_LIBDIR=$${LIBPCAP_LIBDIR:-$(CACHE)/libpcap} \
	    cargo build --quiet --profile dist --target $(TRIPLE) -p $$package && \
	  install -D target/$(TRIPLE)/dist/$$package $(STATIC)/$$package; \
	done
	ls -l $(STATIC)

deb: ## a Debian package of both programs into target/debian
	@tests/deps.sh deb
	cargo build --quiet --profile dist -p nodewatch-agent
	cargo build --quiet --profile dist -p nodewatch-tui
	mkdir -p target/deb && ln -sf nodewatch-tui target/deb/kubectl-nodewatch
	target/dist/nodewatch-tui man | gzip -9n >target/deb/nodewatch-tui.1.gz
	for shell in bash zsh fish; do target/dist/nodewatch-tui completions $$shell >target/deb/completions.$$shell; done
	PATH="$(CACHE)/cargo-deb/bin:$$PATH" cargo deb --no-build --profile dist -p nodewatch-tui

URL ?= https://example.invalid/nodewatch-tui
dist: static ## release archive of this machine's platform, and krew's manifest, into target/release-files
	assets/dist.sh $(STATIC) linux $(shell uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/') target/release-files $(URL)

# What Debian lacks, and Garage and moto for the tests of S3, is installed when make runs as root; elsewhere the missing program is named.
deps:
	@tests/deps.sh test

deps-cluster: deps
	@tests/deps.sh cluster
