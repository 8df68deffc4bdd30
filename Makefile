# media-server: make run, make test. Everything else is below.
# Needs Go (see go.mod) and, for tests, Debian packages that scripts/setup.sh
# installs where it may.

GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
export CGO_ENABLED ?= 0
PLUGINS  := $(patsubst plugins/%/plugin.ini,%,$(wildcard plugins/*/plugin.ini))
TESTTIME ?= 14m

.PHONY: all build run test accept bench lint fuzz generate clean setup

all: build

build: bin/media-server $(PLUGINS:%=bin/plugins/%)

.PHONY: bin/media-server
bin/media-server:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/media-server

.PHONY: $(PLUGINS:%=bin/plugins/%)
$(PLUGINS:%=bin/plugins/%): bin/plugins/%:
	@mkdir -p $@ && chmod go-w bin bin/plugins $@
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@/$* ./plugins/$*
	@install -m 0644 plugins/$*/plugin.ini $@/plugin.ini

run: build
	./bin/media-server run -c conf/media-server.ini

setup:
	scripts/setup.sh test

# What CI runs: formatting, vet, and every package under the race detector, three at a
# time. Those that take longest begin first: the acceptance scenarios, shortened, and
# the browser wait for cameras most of the time, beside which all else is done.
test: setup build
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags accept ./test/accept
	CGO_ENABLED=1 $(GO) test -race -p 3 -timeout $(TESTTIME) ./test/accept ./core/archive ./test/browser ./...

# The acceptance scenarios as long as they are worded, and those that have no short
# form (build tag accept), one after the other (two of fifty cameras at once would
# measure the machine); writes ACCEPTANCE.md.
# With RUN=TestPowerLoss only those; the rows of the others stay.
accept: setup build
	MEDIA_SERVER_ACCEPT=full $(GO) test -tags accept -count 1 -parallel 1 -timeout 4h -v $(if $(RUN),-run '$(RUN)') ./test/accept/... -accept.report=$(CURDIR)/ACCEPTANCE.md $(if $(RUN),-accept.add)

bench: setup build
	$(GO) run ./test/bench -out $(CURDIR)/bin/bench

lint:
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.13.1 run ./...

# Every fuzz target for FUZZTIME each.
FUZZTIME ?= 20s
fuzz:
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p 2>/dev/null | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

generate:
	$(GO) generate ./...

clean:
	rm -rf bin
