# Two commands set everything up: `make demo` and `make test`. Both need Go alone.

GO ?= go
CC_FOUND := $(shell command -v $$($(GO) env CC) 2>/dev/null)
# The race detector needs a C compiler; without one the tests run without it.
RACE := $(if $(CC_FOUND),-race,)
# The test of the pages in a browser needs Chromium.
BROWSER := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
TAGS := $(if $(BROWSER),-tags browser,)

.PHONY: demo build test check bench clean

## demo: run a shop with sample data; Ctrl-C ends it
demo: build
	bin/ordo demo

## build: make the binary, bin/ordo
build:
	$(GO) build -o bin/ordo ./cmd/ordo

## test: format, vet, staticcheck and all tests
test: check
	@$(if $(RACE),echo "tests with the race detector",echo "no C compiler found: tests WITHOUT the race detector")
	@$(if $(BROWSER),echo "the pages in a browser: $(BROWSER)",echo "no Chromium found: the pages are NOT tested in a browser")
	$(GO) test $(RACE) $(TAGS) -timeout 60m ./...

## check: what a machine can see without running anything
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -tags browser ./...
	$(GO) tool staticcheck -tags browser ./...

## bench: orders per second over HTTP, for 1, 8 and 64 clients
bench: build
	bin/ordo bench --orders 20000 --concurrency 1,8,64
	bin/ordo bench --orders 20000 --concurrency 64 --hot

clean:
	rm -rf bin
