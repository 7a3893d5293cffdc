# The names that CI and the documentation use.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nodewatch-tui
export K8S_BIN ?= $(CACHE)/kubernetes-1.20.2
export CLUSTER_DIR ?= /tmp/nodewatch-cluster
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
IMAGE ?= nodewatch-agent:$(VERSION)
# Screens show local time; the tests hold them in UTC.
export TZ = UTC

.PHONY: help run build test lint advisories checkov fuzz test-cluster cluster-up cluster-down bench faults static-agent static image image-docker
.PHONY: kubernetes reproduce pictures deb dist deps deps-cluster

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^=]*## /\1\t/p' Makefile | expand -t 16

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

kubernetes: deps-cluster
	tests/cluster/build-kubernetes.sh "$(K8S_BIN)"

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

pictures: build ## assets/ from the program's own frames: screenshots and the demo
	cargo run --quiet --example pictures

# glibc's resolver wants the system's own libraries even in a static program; musl's does not, so it is taken where it is.
TRIPLE ?= $(shell rustc -vV | sed -n 's/^host: //p')
ARCH := $(shell uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/')
STATIC ?= target/static
# Relocations are packed and functions that came out alike are kept once: a megabyte less.
LINK_FLAGS ?= -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,--icf=all
# Of zstd's ways to compress only those of the levels that are used.
ZSTD_FLAGS = $(patsubst %,-DZSTD_EXCLUDE_%_BLOCK_COMPRESSOR,GREEDY LAZY LAZY2 BTLAZY2 BTOPT BTULTRA)
# No panic goes through C, so nothing has to find its way back there.
C_FLAGS = $(ZSTD_FLAGS) -fno-asynchronous-unwind-tables
CRATES = $(or $(CARGO_HOME),$(HOME)/.cargo)
# Stripped, with no path of this machine in it, so that others can build the same. With cargo-auditable a program says which crates
# are in it.
define static-program
@tests/deps.sh static
cargo fetch --quiet --locked --target $(TRIPLE)
export PATH="$(CACHE)/cargo-auditable/bin:$$PATH" CFLAGS="$(C_FLAGS)" RUSTFLAGS="-C target-feature=+crt-static $(LINK_FLAGS)"; \
for folder in $(CURDIR) $(CRATES)/registry/src/*; do \
  RUSTFLAGS+=" --remap-path-prefix=$$folder=" CFLAGS+=" -ffile-prefix-map=$$folder="; \
done; \
LIBPCAP_LIBDIR=$${LIBPCAP_LIBDIR:-$(CACHE)/libpcap} cargo $$(! command -v cargo-auditable >/dev/null || echo auditable) \
  build --quiet --locked --profile dist --target $(TRIPLE) -p $(1)
install -D target/$(TRIPLE)/dist/$(1) $(STATIC)/$(1)
strip $(STATIC)/$(1)
endef

static-agent:
	$(call static-program,nodewatch-agent)

static: static-agent ## static programs for Linux, small, into target/static
	$(call static-program,nodewatch-tui)
	ls -l $(STATIC)

# What is in the image of one platform, on a node's disk; less than half of it is pulled.
IMAGE_LIMIT = 10000000
# More of what assets/image.py takes, such as --label org.opencontainers.image.source=URL.
IMAGE_OPTIONS ?=
# Programs that were built elsewhere, as in AGENTS="amd64:one/nodewatch-agent arm64:other/nodewatch-agent", make an image of several platforms.
AGENTS ?=
image: $(if $(AGENTS),,static-agent) ## the agent image without an engine: OCI layout and docker archive in target, under 10 MB
	assets/image.py --agent $(VERSION) --name $(IMAGE) --limit $(IMAGE_LIMIT) --layout target/image --archive target/image.tar \
	  --digest target/image.digest $(IMAGE_OPTIONS) $(addsuffix =/nodewatch-agent,$(or $(AGENTS),$(STATIC)/nodewatch-agent))

image-docker: static-agent ## the same by a Docker engine
	docker build -f agent/Dockerfile --build-arg PROGRAM=given -t $(IMAGE) .

reproduce: ## builds the agent twice, in two folders, and compares the bytes
	tests/reproduce.sh

deb: ## a Debian package of both programs into target/debian
	@tests/deps.sh deb
	cargo build --quiet --profile dist -p nodewatch-agent
	cargo build --quiet --profile dist -p nodewatch-tui
	mkdir -p target/deb && ln -sf nodewatch-tui target/deb/kubectl-nodewatch && ln -sf nodewatch-tui target/deb/kubectl_complete-nodewatch
	target/dist/nodewatch-tui man | gzip -9n >target/deb/nodewatch-tui.1.gz
	for shell in bash zsh fish; do target/dist/nodewatch-tui completions $$shell >target/deb/completions.$$shell; done
	PATH="$(CACHE)/cargo-deb/bin:$$PATH" cargo deb --no-build --profile dist -p nodewatch-tui

URL ?= https://example.invalid/nodewatch-tui
# Where the image is pushed, as in REPOSITORY=registry.example/team/nodewatch-agent: the program knows it by digest then.
REPOSITORY ?=
dist: image ## release archive of this platform with SBOM, licences, sums and krew's manifest, into target/release-files
	NODEWATCH_RELEASED_IMAGE=$(if $(REPOSITORY),$(REPOSITORY)@$$(cat target/image.digest)) $(MAKE) static
	assets/inventory.py $(TRIPLE) target/inventory $${LIBPCAP_LIBDIR:-$(CACHE)/libpcap}
	assets/dist.sh $(STATIC) linux $(ARCH) target/release-files $(URL)

# What Debian lacks, and Garage and moto for the tests of S3, is installed when make runs as root; elsewhere the missing program is named.
deps:
	@tests/deps.sh test

deps-cluster: deps
	@tests/deps.sh cluster
