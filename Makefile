# Two commands set everything up: `make demo` and `make test`. Both need Go alone.

GO ?= go
CC_FOUND := $(shell command -v $$($(GO) env CC) 2>/dev/null)
# The race detector needs a C compiler; without one the tests run without it. It
# leaves out SQLite's C in Go: its memory is none of Go's, and it would take three
# quarters of the time.
RACE := $(if $(CC_FOUND),-race -gcflags=modernc.org/sqlite/lib=-race=false,)
# The test of the pages in a browser needs Chromium.
BROWSER := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
TAGS := $(if $(BROWSER),-tags browser,)

ROUNDS ?= 50

.PHONY: demo build docs test check simulate soak soak-kill soak-jetstream mutants bench clean

## demo: run a shop with sample data; Ctrl-C ends it
demo: build
	bin/ordo demo

## build: make the binary, bin/ordo
build:
	$(GO) build -o bin/ordo ./cmd/ordo

# The tests of e2e mostly wait for what they started: they begin first, and four
# at a time, while the others use the processors.
## test: format, vet, staticcheck, 2,000 simulated schedules and all tests
test: check simulate
	@$(if $(RACE),echo "tests with the race detector",echo "no C compiler found: tests WITHOUT the race detector")
	@$(if $(BROWSER),echo "the pages in a browser: $(BROWSER)",echo "no Chromium found: the pages are NOT tested in a browser")
	$(GO) test $(RACE) $(TAGS) -parallel 4 -timeout 60m ./e2e ./...

## check: what a machine can see without running anything
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -tags browser ./...
	$(GO) vet -tags failpoint ./bus/failpoint
	$(GO) tool staticcheck -tags browser ./...

## docs: write the parts of the documents that are drawn from the code
docs:
	$(GO) test ./e2e -count 1 -run '^TestSchemasAreDrawn$$' -draw
	$(GO) test ./e2e -count 1 -run '^TestMessagesFitTheirSchemas$$' -draw
	$(GO) test ./e2e -count 1 -run '^TestDocumentsAreDrawn$$' -draw
	$(GO) test ./cmd/ordo -count 1 -run '^TestCommandsPage$$' -draw

# The race detector has nothing to find in one thread, and costs tenfold.
SIMULATE = $(GO) test ./actors/simulate -count 1 -timeout 12h

## simulate: the whole shop in one thread under faults, 2,000 schedules
simulate:
	SEEDS=2000 $(SIMULATE) -run '^TestSchedules$$'

## soak: simulate SEEDS schedules, from FROM on
soak:
	SEEDS=$(or $(SEEDS),50000) FROM=$(or $(FROM),2000) $(SIMULATE) -v -run '^TestSchedules$$'

## mutants: plant bugs one by one, each of which the simulation must catch
mutants:
	MUTANTS=all $(SIMULATE) -v -run '^TestMutants$$'

## bench: orders per second over HTTP, for 1, 8 and 64 clients
bench: build
	bin/ordo bench --orders 20000 --concurrency 1,8,64
	bin/ordo bench --orders 20000 --concurrency 64 --hot

## soak-kill: kill the shop ROUNDS times under load, at random and at every failpoint
soak-kill:
	$(GO) test ./e2e -v -count=1 -timeout 4h -run '^TestSoakKill$$' -soak-kill $(ROUNDS)

## soak-jetstream: damage JetStream ROUNDS times under load, a shop's and an external one
soak-jetstream:
	$(GO) test ./e2e -v -count=1 -timeout 4h -run '^TestSoak(JetStream|NATSAlone)$$' \
		-soak-jetstream $(ROUNDS) -soak-nats $(ROUNDS)

clean:
	rm -rf bin
