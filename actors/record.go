package actors

import (
	"slices"
	"strings"

	"ordo/api"
	"ordo/stores"
)

// ownTables are the runtime's tables that tell what was done; the others tell
// how messages travel.
var ownTables = [...]string{"_step", "_effect", "_dead", "_incident"}

// Record is Apply for one message, and tells which rows it wrote: those of the
// domain, of steps, effects, dead letters and incidents.
func (e *Engine) Record(created api.Time, d Delivery) (out *Output, wrote []stores.Change,
	err error) {
	wrote, err = e.w.Record(func() error {
		out, err = e.Apply(created, []Delivery{d})
		return err
	})
	wrote = slices.DeleteFunc(wrote, func(c stores.Change) bool { return !telling(c.Table) })
	return out, wrote, err
}

// telling tells whether a table is the domain's, or tells what was done.
func telling(table string) bool {
	return !strings.HasPrefix(table, "_") || slices.Contains(ownTables[:], table)
}
