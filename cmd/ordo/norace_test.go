//go:build !race

package main

// plantedEvery has all planted deviations looked for.
const plantedEvery = 1
