package order

// ListQueries are the statements of lists and tallies, for their plans.
var ListQueries = map[string]string{"all": txAll, "user": txUser, "sku": txSKU, "state": txState,
	"one": txOne, "open": txOpen, "overdue": txOverdue, "remade": txRemade, "since": txSince, "last": txLast,
	"steps": openSteps, "tally": tallyStates, "minutes": tallyMinutes}
