package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"ordo/api"
	"ordo/api/web/call"
)

// refreshEvery is after how many seconds the overview looks again.
const refreshEvery = 3

// stuckAfter is after how many seconds a step that is not answered makes the
// overview name its order: those in progress are quicker.
const stuckAfter = 3

// maxStuck is the most stuck orders that the overview names.
const maxStuck = 10

// overview is what the admin API answers of the shop.
type overview struct {
	At      api.Time          `json:"at"`
	Orders  api.Tally         `json:"orders"`
	Actors  []api.ActorStatus `json:"actors"`
	Timers  struct{ Pending uint64 }
	Streams []stream        `json:"streams"`
	Audit   json.RawMessage `json:"audit"`
	Dead    int64           `json:"dead"`
	Missing api.MissingList `json:"missing"`
}

// stream is a row of the streams' table.
type stream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	MaxBytes int64  `json:"max_bytes"`
	Lag      uint64 `json:"lag"`
}

// verdict is what the overview says of the standing audit.
type verdict struct {
	OK         bool     `json:"ok"`
	At         api.Time `json:"at"`
	Deviations int64    `json:"deviations"`
	Error      string   `json:"error"`
	Damaged    []string `json:"damaged"`
	// LeftOut are the checks that could not be made, because a file is elsewhere.
	LeftOut []string `json:"left_out"`
}

// verdict is nil where there is no audit.
func (o *overview) verdict() (*verdict, error) {
	if len(o.Audit) == 0 || string(o.Audit) == "null" {
		return nil, nil
	}
	v := &verdict{}
	return v, json.Unmarshal(o.Audit, v)
}

// dashboard is the first page.
type dashboard struct {
	overview
	// Verdict is nil where there is no audit.
	Verdict *verdict
	// Stuck are some of the orders that do not go on, More is true when there are
	// more.
	Stuck []api.Transaction
	More  bool
	// States are the orders by state, and Rates how many came into some states in
	// the last full minute.
	States []counted
	Rates  []counted
	// Minutes is how long the plot is, Spans what may be chosen.
	Minutes int
	Spans   []int
	Plots   []plot
}

// counted is a number with its name.
type counted struct {
	Name string
	N    int64
}

// states of an order, as they come after one another.
var states = [...]string{api.OrderPending, api.OrderPlaced, api.OrderPaid, api.OrderClosing,
	api.OrderRefused, api.OrderCancelled}

// spans are the lengths of plots, in minutes.
var spans = [...]int{60, 180, 720, api.MaxTally}

func (v *visit) showOverview() error {
	d := dashboard{Minutes: 180, Spans: spans[:]}
	if n, err := strconv.Atoi(v.query("minutes")); err == nil && slices.Contains(spans[:], n) {
		d.Minutes = n
	}
	if err := v.get("/overview?minutes="+strconv.Itoa(d.Minutes), &d.overview); err != nil {
		return err
	}
	var stuck api.TransactionList
	ask := fmt.Sprintf("/transactions?stuck=true&older=%d&limit=%d", stuckAfter, maxStuck)
	if err := v.get(ask, &stuck); err != nil {
		why := err.Error()
		if call.Is(err, api.CodeUnavailable) {
			why = "order " + noAnswer
		}
		d.Missing = append(d.Missing, api.Missing{Part: "stuck", Actor: "order", Why: why})
	}
	d.Stuck, d.More = stuck.Transactions, stuck.Next != ""
	var err error
	if d.Verdict, err = d.verdict(); err != nil {
		return err
	}
	for _, state := range states {
		d.States = append(d.States, counted{state, d.Orders.States[state]})
	}
	last := d.At - d.At%api.Time(time.Minute) - api.Time(time.Minute)
	rate := map[string]int64{}
	for _, m := range d.Orders.Minutes {
		if m.At == last {
			rate = m.Entered
		}
	}
	d.Rates = []counted{{"Submitted", rate[api.OrderPending]}, {"Placed", rate[api.OrderPlaced]},
		{"Paid", rate[api.OrderPaid]}}
	d.Plots = plots(&d.Orders, d.At, d.Minutes)
	return v.show(http.StatusOK, view{Page: "overview", Title: "Overview", Reload: refreshEvery,
		D: &d})
}
