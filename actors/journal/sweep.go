package journal

import (
	"time"

	"ordo/actors"
	"ordo/api"
)

// The log of deliveries: what has ended is kept for logTime, and the newest
// MaxLog deliveries at most.
const (
	logTime = 30 * 24 * time.Hour
	// MaxLog is the most deliveries in the log.
	MaxLog = 1_000_000
)

// sweep sends what is due, goes on with replays, skips what waits for disabled
// endpoints, and forgets what is old: each of them in parts.
func sweep(tx *actors.Tx) (more bool, err error) {
	var all []*hook
	if err := tx.Each(func(r actors.Row) error {
		h, err := scanHook(r)
		all = append(all, h)
		return err
	}, hookColumns+`ORDER BY n`); err != nil || len(all) == 0 {
		return false, err
	}
	for _, h := range all {
		again, err := sweepOne(tx, h)
		if err != nil {
			return false, err
		}
		more = more || again
	}
	again, err := prune(tx)
	return more || again, err
}

func sweepOne(tx *actors.Tx, h *hook) (more bool, err error) {
	switch h.state {
	case disabled:
		return skipWaiting(tx, h.ID)
	case deleted:
		return forget(tx, h.ID)
	}
	if h.oldSecret != "" && h.OldSecretUntil < tx.Now() {
		if _, err := tx.Exec(`UPDATE webhook SET old_secret = '', old_until = 0 WHERE id = ?`,
			h.ID); err != nil {
			return false, err
		}
	}
	waiting, err := waiting(tx, h.ID)
	if err != nil {
		return false, err
	}
	if waiting > MaxWaiting {
		return true, giveUp(tx, h.ID, api.WebhookBacklog)
	}
	if more, err = replayPart(tx, h); err != nil {
		return false, err
	}
	return more, dispatch(tx, h.ID)
}

func waiting(tx *actors.Tx, webhook string) (n int64, err error) {
	return n, tx.Row(`SELECT count(*) FROM delivery WHERE webhook = ? AND state = 'pending'`,
		webhook).Scan(&n)
}

// skipWaiting ends what waits for an endpoint that is disabled.
func skipWaiting(tx *actors.Tx, webhook string) (more bool, err error) {
	n, err := tx.Exec(`UPDATE delivery SET state = 'skipped', ended = ? WHERE n IN (SELECT n
		FROM delivery WHERE webhook = ? AND state = 'pending' LIMIT +?)`,
		tx.Now(), webhook, actors.SweepLimit)
	return n == actors.SweepLimit, err
}

// forget removes the log of an endpoint that is deleted, and then the endpoint.
func forget(tx *actors.Tx, webhook string) (more bool, err error) {
	n, err := tx.Exec(`DELETE FROM delivery WHERE n IN (SELECT n FROM delivery WHERE webhook = ?
		LIMIT +?)`, webhook, actors.SweepLimit)
	if err != nil || n == actors.SweepLimit {
		return err == nil, err
	}
	_, err = tx.Exec(`DELETE FROM webhook WHERE id = ?`, webhook)
	return false, err
}

// replayPart goes on with a replay, SweepLimit events at a time, while not too
// much waits for the endpoint.
func replayPart(tx *actors.Tx, h *hook) (more bool, err error) {
	if h.replayNext == 0 {
		return false, nil
	}
	if n, err := waiting(tx, h.ID); err != nil || n > MaxWaiting/2 {
		return false, err
	}
	end := min(h.replayNext+actors.SweepLimit-1, h.replayLast)
	w, events := want{h.ID, h.Types}, []string{}
	if err := tx.Each(func(r actors.Row) error {
		var id, typ string
		err := r.Scan(&id, &typ)
		if w.has(typ) {
			events = append(events, id)
		}
		return err
	}, `SELECT id, type FROM entry WHERE seq BETWEEN ? AND ? ORDER BY seq`,
		h.replayNext, end); err != nil {
		return false, err
	}
	for _, id := range events {
		if err := deliver(tx, h.ID, id, h.replayAll); err != nil {
			return false, err
		}
	}
	next := end + 1
	if next > h.replayLast {
		next = 0
	}
	_, err = tx.Exec(`UPDATE webhook SET replay_next = ? WHERE id = ?`, next, h.ID)
	return next > 0, err
}

// prune forgets deliveries that have ended and are old, or too many, however many
// still wait. The statement is told its index: those that wait stand before the
// others.
func prune(tx *actors.Tx) (more bool, err error) {
	n, err := tx.Exec(`DELETE FROM delivery WHERE n IN (SELECT n FROM
			(SELECT n, at FROM delivery INDEXED BY delivery_ended WHERE ended > 0
				ORDER BY n LIMIT +?1)
		WHERE at < ?2 OR n <= (SELECT max(n) FROM delivery) - ?3)`,
		actors.SweepLimit, tx.Now().Add(-logTime), MaxLog)
	return n > actors.SweepLimit/2, err
}
