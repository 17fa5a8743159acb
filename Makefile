# Muster. `make help` lists what can be done; every target does its own set-up.
# The only variable from outside is MUSTER_DATA (make conformance).

SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
LDFLAGS := -s -w -X main.version=$(VERSION)
BIN     := bin/muster
WEB     := $(shell find web -type f -not -path '*/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)
SOURCES := $(shell find cmd internal client -name '*.go' -not -name '*_test.go' 2>/dev/null) $(shell find internal -type f \( -name '*.yaml' -o -name '*.cedar*' -o -name '*.sql' -o -name '*.bin' -o -name '*.html' -o -name 'modules.txt' \) 2>/dev/null)
# Tests that need more than the Go toolchain are in stages of their own.
# The one whose tests take longest is first, so that the others run beside it.
PACKAGES = $(shell $(GO) list ./internal/server && $(GO) list ./... | grep -v -e /test/ -e /internal/server$$)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: build
build: $(BIN) ## build bin/muster with the console inside

$(BIN): $(SOURCES) internal/console/dist/index.html.br go.mod go.sum
	@scripts/need go
	CGO_ENABLED=0 $(GO) build -tags console -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $@ ./cmd/muster

web/node_modules/.package-lock.json: web/package-lock.json
	@scripts/need node
	cd web && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

internal/console/dist/index.html.br: web/node_modules/.package-lock.json $(WEB) api/openapi.yaml
	cd web && npm run --silent build
	@touch $@

.PHONY: demo
demo: build ## start a living fictional company and open it in the browser
	$(BIN) demo

.PHONY: test
test: ## everything that must pass
	@scripts/need go node packages
	MUSTER_NEED_POSTGRES=1 $(MAKE) --no-print-directory check
	$(MAKE) --no-print-directory e2e
	@echo
	@echo "make test: everything passed"

.PHONY: check
check: build ## format, vet, staticcheck, unit tests with race and shuffle, generated files
	scripts/check-format
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	$(GO) test -race -shuffle=on -vet=off -timeout 15m $(PACKAGES)
	cd test/promql && $(GO) test ./...
	cd test/peers && $(GO) test ./...
	cd web && npm run --silent check
	scripts/check-generated
	scripts/check-reproducible $(VERSION)

.PHONY: e2e
e2e: build ## the product as its users meet it: commands, stories, crashes, proxies, browser
	@scripts/need node packages
	MUSTER_NEED_POSTGRES=1 MUSTER_NEED_PROXIES=1 $(GO) test -count=1 -timeout 20m ./test/...
	CGO_ENABLED=1 $(GO) test -count=1 -tags pkcs11 ./internal/seal/pkcs11
	$(GO) test -count=1 -tags pebble ./internal/certs
	GO="$(GO)" test/oracle/run
	MUSTER="$(CURDIR)/$(BIN)" examples/leaked-key/run
	MUSTER="$(CURDIR)/$(BIN)" test/sso/run
	MUSTER="$(CURDIR)/$(BIN)" test/browser/run

.PHONY: bench
bench: ## benchmarks, with the named peers beside ours in the same run
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...
	cd bench && $(GO) test -run '^$$' -bench . -benchmem ./...
	cd bench && $(GO) test -count=1 -run ServersSideBySide -timeout 2h -v . -args -results ../docs/results/peers.md

.PHONY: generate
generate: ## make every generated file again
	$(GO) generate ./...
	$(GO) run ./cmd/muster openapi > api/openapi.yaml
	$(MAKE) --no-print-directory build
	docs/reference/generate-cli > docs/reference/cli.md
	cd web && npm run --silent generate

.PHONY: conformance
conformance: ## check against public reference data in the folder MUSTER_DATA
	@test -n "$${MUSTER_DATA:-}" || { echo "make conformance: set MUSTER_DATA to the folder with the reference data" >&2; exit 1; }
	@test -d "$$MUSTER_DATA" || { echo "make conformance: there is no folder $$MUSTER_DATA" >&2; exit 1; }
	@out=$$(mktemp); trap 'rm -f "$$out"' EXIT; \
	$(GO) test -count=1 -tags conformance -run '^TestConformance' -v ./internal/activity/cloudtrail ./internal/enforce/authzen ./internal/policy ./internal/policy/format > "$$out" 2>&1 || { cat "$$out"; exit 1; }; \
	grep -vE '^(=== |testing: warning|\?)' "$$out"; \
	grep -q '^--- PASS: TestConformance' "$$out" || { echo "make conformance: no check ran" >&2; exit 1; }

.PHONY: scale
scale: build ## long: many stories, many crashes, a million identities; writes docs/results
	$(GO) test -count=1 -p 1 -timeout 6h -tags scale -v ./test/scale ./test/story ./test/chaos

.PHONY: soak
soak: build ## long: fuzz every parser for minutes each, then the stories again and again
	scripts/soak

.PHONY: clean
clean: ## remove what was built
	rm -rf bin web/dist internal/console/dist/assets internal/console/dist/index.html*
