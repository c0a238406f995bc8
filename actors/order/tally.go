package order

import (
	"time"

	"ordo/actors"
	"ordo/api"
)

// tallyKept is how long changes of state are counted by the minute. All counts
// are added up to tell how many orders are in a state, so they must be few.
const tallyKept = api.MaxTally*time.Minute + time.Hour

// minuteOf is the minute of a time, counted from 1970.
func minuteOf(t api.Time) int64 { return int64(t) / int64(time.Minute) }

// count notes that an order has come into its state, from the one it was read
// in; none for a new one. It is called where orders are written, and only there.
func count(tx *actors.Tx, o *order) error {
	if o.State == o.was {
		return nil
	}
	_, err := tx.Exec(`INSERT INTO tally (minute, was, state, orders) VALUES (?, ?, ?, 1)
		ON CONFLICT DO UPDATE SET orders = orders + 1`, minuteOf(tx.Now()), o.was, o.State)
	o.was = o.State
	return err
}

// fold adds up what was counted long ago.
func fold(tx *actors.Tx) error {
	before := minuteOf(tx.Now().Add(-tallyKept))
	n, err := tx.Exec(`INSERT INTO tally (minute, was, state, orders)
		SELECT 0, was, state, sum(orders) FROM tally WHERE minute > 0 AND minute < ?
			GROUP BY was, state
		ON CONFLICT DO UPDATE SET orders = orders + excluded.orders`, before)
	if err != nil || n == 0 {
		return err
	}
	_, err = tx.Exec(`DELETE FROM tally WHERE minute > 0 AND minute < ?`, before)
	return err
}

// What getTally asks.
const (
	tallyStates = `SELECT state, sum(orders) FROM (
			SELECT state, orders FROM tally UNION ALL SELECT was, -orders FROM tally)
		WHERE state <> '' GROUP BY state HAVING sum(orders) <> 0`
	tallyLast    = `SELECT coalesce(max(minute), 0) FROM tally`
	tallyMinutes = `SELECT minute, state, sum(orders) FROM tally WHERE minute > ? AND minute > 0
		GROUP BY minute, state ORDER BY minute`
)

func getTally(v *actors.View, q *api.GetTally) (*api.Tally, error) {
	if q.Minutes < 0 || q.Minutes > api.MaxTally {
		return nil, invalid("minutes", "must be 0 to %d", api.MaxTally)
	}
	t := &api.Tally{States: map[string]int64{}, Minutes: []api.TallyMinute{}}
	if err := v.Each(func(r actors.Row) error {
		var state string
		var n int64
		err := r.Scan(&state, &n)
		t.States[state] = n
		return err
	}, tallyStates); err != nil || q.Minutes == 0 {
		return t, err
	}
	last := minuteOf(q.Until)
	if q.Until == 0 {
		if err := v.Row(tallyLast).Scan(&last); err != nil {
			return nil, err
		}
	}
	return t, v.Each(func(r actors.Row) error {
		var minute, n int64
		var state string
		if err := r.Scan(&minute, &state, &n); err != nil {
			return err
		}
		at := api.Time(minute * int64(time.Minute))
		if k := len(t.Minutes); k == 0 || t.Minutes[k-1].At != at {
			t.Minutes = append(t.Minutes, api.TallyMinute{At: at, Entered: map[string]int64{}})
		}
		t.Minutes[len(t.Minutes)-1].Entered[state] = n
		return nil
	}, tallyMinutes, last-int64(q.Minutes))
}
