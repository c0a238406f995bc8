//go:build race

package main

// plantedEvery is the share of planted deviations that are looked for with the
// race detector: it costs twentyfold, and has nothing to find in one thread.
// `make test` looks for all of them without it.
const plantedEvery = 5
