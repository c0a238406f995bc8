package actors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
	"ordo/bus"
)

// act tells the probe what to do, in the order of its fields.
type act struct {
	// Write are the rows to write; one twice breaks a constraint.
	Write []int `json:"write,omitempty"`
	// Send are the numbers of messages to coupon, each with Size more bytes.
	Send []int `json:"send,omitempty"`
	Size int   `json:"size,omitempty"`
	// Begin opens an effect of that id.
	Begin string        `json:"begin,omitempty"`
	After time.Duration `json:"after,omitempty"`
	// Remind has an act come back after After.
	Remind    string `json:"remind,omitempty"`
	Configure string `json:"configure,omitempty"`
	Wake      string `json:"wake,omitempty"`
	Reply     string `json:"reply,omitempty"`
	// How it ends.
	Refuse bool `json:"refuse,omitempty"`
	Fault  bool `json:"fault,omitempty"`
	Panic  bool `json:"panic,omitempty"`
}

func (*act) Route() api.Route { return api.Route{Actor: "goods", Verb: "act"} }

// settings are the probe's configuration.
type settings struct{ Shop string }

// stepDo and stepUndo are a saga step and its undo.
type (
	stepDo struct {
		api.Step
		Act act `json:"act"`
	}
	stepUndo struct {
		api.Step
		Act act `json:"act"`
	}
)

func (*stepDo) Route() api.Route   { return api.Route{Actor: "goods", Verb: "step-do"} }
func (*stepUndo) Route() api.Route { return api.Route{Actor: "goods", Verb: "step-undo"} }

// parcel is what the probe sends to coupon.
type parcel struct {
	N    int    `json:"n"`
	Text []byte `json:"text,omitempty"`
}

func (*parcel) Route() api.Route { return api.Route{Actor: "coupon", Verb: "parcel"} }

// row is a row that the probe has written.
type row struct {
	N  int
	At api.Time
	ID string
}

type listRows struct{}

func (*listRows) Endpoint() api.Route { return api.Route{Actor: "goods", Verb: "rows"} }

func (m *act) run(tx *actors.Tx) error {
	for _, n := range m.Write {
		if _, err := tx.Exec(`INSERT INTO probe (n, at, id) VALUES (?, ?, ?)`,
			n, tx.Now(), tx.NewID("row")); err != nil {
			return err
		}
	}
	for _, n := range m.Send {
		if err := tx.Send(&parcel{n, make([]byte, m.Size)}); err != nil {
			return err
		}
	}
	if err := m.outside(tx); err != nil {
		return err
	}
	switch {
	case m.Refuse:
		return api.Refuse(api.CodeInvalid, "as asked").At("refuse").With(m.Write)
	case m.Fault:
		return errors.New("as asked")
	case m.Panic:
		panic("as asked")
	}
	return nil
}

func (m *act) outside(tx *actors.Tx) error {
	var errs []error
	if m.Begin != "" {
		errs = append(errs, tx.Begin("probe", m.Begin, m.Write))
	}
	if m.Remind != "" {
		errs = append(errs, tx.SendAfter("probe", m.After, m.Remind, &act{Write: m.Write}))
	}
	if m.Configure != "" {
		errs = append(errs, tx.Configure(settings{m.Configure}))
	}
	if m.Wake != "" {
		errs = append(errs, tx.Wake(m.Wake, m.Write))
	}
	if m.Reply == "config" {
		config := settings{"none"}
		errs = append(errs, tx.Config(&config))
		m.Reply = config.Shop
	}
	if m.Reply != "" {
		errs = append(errs, tx.Reply(m.Reply))
	}
	return errors.Join(errs...)
}

// probeSenders are those whose numbered messages it takes.
var probeSenders = []string{"order", "coupon", "wallet", "payment"}

// probeSpec does what it is told to.
func probeSpec() *actors.Spec {
	return &actors.Spec{Name: "goods", Version: "1.0.0", Description: "Does as it is told.",
		Schema: `CREATE TABLE probe (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL)
			STRICT;`,
		Commands: []actors.Command{
			actors.On(func(tx *actors.Tx, m *act) error { return m.run(tx) }).From(probeSenders...),
			actors.On(func(tx *actors.Tx, m *stepDo) error {
				return tx.Do(m.Step, func() (any, error) {
					if err := m.Act.run(tx); err != nil || m.Act.Write == nil {
						return nil, err
					}
					return m.Act.Write, nil
				})
			}).From(probeSenders...),
			actors.On(func(tx *actors.Tx, m *stepUndo) error {
				return tx.Undo(m.Step, func() error { return m.Act.run(tx) })
			}).From(probeSenders...),
		},
		Queries: []actors.Endpoint{actors.Answer("All rows.",
			func(v *actors.View, _ *listRows) ([]row, error) {
				all := []row{}
				err := v.Each(func(r actors.Row) error {
					var w row
					err := r.Scan(&w.N, &w.At, &w.ID)
					all = append(all, w)
					return err
				}, `SELECT n, at, id FROM probe ORDER BY n`)
				return all, err
			})},
		Outcomes: map[string]func(*actors.Tx, *api.Outcome) error{
			"probe": func(tx *actors.Tx, o *api.Outcome) error {
				return tx.Send(&parcel{o.Attempt, o.Data})
			}}}
}

// rows are the numbers that the probe has written.
func rows(a *actorstest.Actor) []int {
	a.T.Helper()
	var all []row
	if refusal := a.Ask(&listRows{}, &all); refusal != nil {
		a.T.Fatal(refusal)
	}
	numbers := []int{}
	for _, r := range all {
		numbers = append(numbers, r.N)
	}
	return numbers
}

func wantRows(a *actorstest.Actor, want ...int) {
	a.T.Helper()
	if got := rows(a); !slices.Equal(got, want) {
		a.T.Errorf("rows %v, want %v", got, want)
	}
}

// wantCounts checks how many rows tables have.
func wantCounts(a *actorstest.Actor, want map[string]int) {
	a.T.Helper()
	for table, n := range want {
		if got := count(a, table); got != n {
			a.T.Errorf("%d rows in %s, want %d", got, table, n)
		}
	}
}

// edge is a message from an edge.
func edge(id string, m api.Message) actors.Delivery {
	r := m.Route()
	return actors.Delivery{Subject: bus.MailboxSubject(r.Actor, r.Verb), ID: id, Body: api.Raw(m)}
}

// channel is a message from the order actor's channel.
func channel(number int64, m api.Message) actors.Delivery {
	return epoch("one", number, 0, m)
}

func epoch(name string, number, after int64, m api.Message) actors.Delivery {
	d := edge(fmt.Sprintf("order.0.%s.goods.0.%d", name, number), m)
	d.After = after
	return d
}

// sentNumbers are the numbers of the parcels that the last batch sent, and
// checks that they go to coupon as numbers from first on.
func sentNumbers(a *actorstest.Actor, first int64) (all []int) {
	a.T.Helper()
	for i, s := range a.Out.Sent {
		if s.Receiver != "coupon.0" || s.Number != first+int64(i) {
			a.T.Errorf("sent %+v as number %d", s, i)
		}
	}
	for _, p := range actorstest.Sent[parcel](a) {
		all = append(all, p.N)
	}
	return all
}

func wantRefusal(t *testing.T, what string, err *api.Error, code api.Code) {
	t.Helper()
	if err == nil || err.Code != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

// rawMessage is a message with a body of any form.
type rawMessage struct{ verb, body string }

func (m *rawMessage) Route() api.Route { return api.Route{Actor: "goods", Verb: m.verb} }

// MarshalJSON gives the body, as a JSON string where it is no JSON.
func (m *rawMessage) MarshalJSON() ([]byte, error) {
	if json.Valid([]byte(m.body)) {
		return []byte(m.body), nil
	}
	return json.Marshal(m.body)
}
