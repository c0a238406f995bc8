package actors

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ordo/api"
)

// bury writes the dead letter of a message and counts the message as handled.
func (b *batch) bury(d *Delivery, cause error) error {
	b.pass(d)
	c, isChannel := parseChannelID(d.ID)
	if isChannel { // it may be the first of a new epoch
		if ok, err := b.admit(c, d); !ok {
			return err
		}
	}
	hash := sha256.Sum256(d.Body)
	r := api.Result{Hash: hash[:]}
	l, err := b.failedAgain(d, cause)
	switch {
	case err == nil:
		r.Value = api.Raw(l.State)
	case errors.Is(err, ErrNoRows):
		if l, err = b.newLetter(d, cause); err != nil {
			return err
		}
		r.Refusal = api.Refuse(api.CodeInternal,
			"the message could not be handled and was put aside as dead letter %d", l.N)
	default:
		return err
	}
	l.Body = jsonOrText(l.Body)
	b.out.Dead = append(b.out.Dead, *l)
	b.cut(CutDead, fmt.Sprintf("letter %d, %s", l.N, d.ID))
	b.out.Handled++
	if isChannel {
		b.in[c.sender] = inbound{c.epoch, c.number}
		return nil
	}
	b.wake(d.ID, &r)
	return b.remember(d, &r)
}

func (b *batch) newLetter(d *Delivery, cause error) (*api.Letter, error) {
	l := &api.Letter{ID: d.ID, Subject: d.Subject, Body: d.Body,
		Error: cause.Error(), Attempts: maxTries, At: b.now, State: "open"}
	err := b.e.w.Row(`INSERT INTO _dead (id, subject, cause, body, error, attempts, at)
		VALUES (?, ?, '', ?, ?, ?, ?) RETURNING n`,
		l.ID, l.Subject, string(d.Body), l.Error, l.Attempts, l.At).Scan(&l.N)
	return l, err
}

// failedAgain notes that the letter failed which d had tried again; ErrNoRows
// when d is another message.
func (b *batch) failedAgain(d *Delivery, cause error) (*api.Letter, error) {
	var ref api.LetterRef
	if d.verb() != api.VerbRetryDead || json.Unmarshal(d.Body, &ref) != nil {
		return nil, ErrNoRows
	}
	return scanLetter(b.e.w.Row(`UPDATE _dead SET error = ?, attempts = attempts + ?,
		settled_by = ?, reason = ?, settled_at = ? WHERE n = ? AND state = 'open'
		RETURNING `+letterColumns, cause.Error(), maxTries, ref.By, ref.Reason, b.now, ref.N))
}

// retryDead has a dead letter handled by its handler. A refusal is the answer
// to a message from an edge, and settles it; a fault leaves the letter open.
func (e *Engine) retryDead(tx *Tx, body []byte) error {
	l, err := openLetter(tx, body)
	if err != nil {
		return err
	}
	old := Delivery{Subject: l.Subject}
	handle, ok := e.verbs[old.verb()]
	if !ok {
		return fmt.Errorf("actor %s has no handler for %s", e.Spec.Name, l.Subject)
	}
	_, err = tx.attempt(func() (any, error) { return nil, handle(tx, l.Body) })
	refusal := api.AsError(err)
	_, isChannel := parseChannelID(l.ID)
	switch {
	case refusal != nil && isChannel:
		return fmt.Errorf("dead letter %d: %v", l.N, refusal) // not wrapped: not an answer
	case refusal != nil:
		l.State, l.Error = "dismissed", refusal.Error()
	case err != nil:
		return err
	default:
		l.State = "retried"
	}
	if !isChannel {
		if err := tx.amend(l.ID, refusal); err != nil {
			return err
		}
	}
	tx.acts.value = api.Raw(l.State)
	return settleLetter(tx, l)
}

// amend has an edge that asks again for a message hear what a retry came to.
func (tx *Tx) amend(id string, refusal *api.Error) error {
	told, value := any(nil), any(nil)
	if refusal != nil {
		told = string(api.Raw(refusal))
	} else if tx.acts.value != nil {
		value = string(tx.acts.value)
	}
	_, err := tx.Exec(`UPDATE _edge SET refusal = ?, value = ? WHERE id = ?`, told, value, id)
	return err
}

func (e *Engine) dismissDead(tx *Tx, body []byte) error {
	l, err := openLetter(tx, body)
	if err != nil {
		return err
	}
	l.State = "dismissed"
	return settleLetter(tx, l)
}

// openLetter reads the open letter that a message names.
func openLetter(tx *Tx, body []byte) (*api.Letter, error) {
	var ref api.LetterRef
	if err := json.Unmarshal(body, &ref); err != nil {
		return nil, api.Refuse(api.CodeInvalid, "dead letter: %v", err)
	}
	l, err := scanLetter(tx.Row(`SELECT `+letterColumns+` FROM _dead
		WHERE n = ? AND state = 'open'`, ref.N))
	if errors.Is(err, ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "there is no open dead letter %d", ref.N)
	}
	l.SettledBy, l.Reason, l.SettledAt = ref.By, ref.Reason, tx.Now()
	return l, err
}

func settleLetter(tx *Tx, l *api.Letter) error {
	_, err := tx.Exec(`UPDATE _dead SET state = ?, error = ?, settled_by = ?, reason = ?,
		settled_at = ? WHERE n = ?`, l.State, l.Error, l.SettledBy, l.Reason, l.SettledAt, l.N)
	return err
}

// letterColumns are those that scanLetter reads.
const letterColumns = `n, id, subject, body, error, attempts, at, state, settled_by, reason,
	settled_at`

// scanLetter reads a letter with its body as it came, which may not be JSON.
func scanLetter(r Row) (*api.Letter, error) {
	var l api.Letter
	var body string
	err := r.Scan(&l.N, &l.ID, &l.Subject, &body, &l.Error, &l.Attempts, &l.At, &l.State,
		&l.SettledBy, &l.Reason, &l.SettledAt)
	l.Body = json.RawMessage(body)
	return &l, err
}

// jsonOrText is a body as JSON: itself, or a string of what is none.
func jsonOrText(b []byte) json.RawMessage {
	if json.Valid(b) {
		return b
	}
	return api.Raw(string(b))
}

func listLetters(v *View, body []byte) (any, error) {
	var q api.ListLetters
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, api.Refuse(api.CodeInvalid, "query: %v", err)
	}
	before, err := parseCursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	if q.N > 0 {
		before, q.Limit = q.N+1, 1
	}
	after, err := searchedAfter(v, q.Contains)
	if err != nil {
		return nil, err
	}
	list := api.LetterList{Letters: []api.Letter{}}
	err = v.Each(func(r Row) error {
		l, err := scanLetter(r)
		if err != nil {
			return err
		}
		if q.N > 0 && l.N != q.N {
			return nil
		}
		if len(list.Letters) == q.Size() {
			list.Next = strconv.FormatInt(list.Letters[len(list.Letters)-1].N, 10)
			return nil
		}
		l.Body = jsonOrText(l.Body)
		if q.N == 0 {
			l.Error, _, _ = strings.Cut(l.Error, "\n")
		}
		list.Letters = append(list.Letters, *l)
		return nil
	}, `SELECT `+letterColumns+` FROM _dead
		WHERE n < ?1 AND n > ?4 AND (?2 = '' OR state = ?2)
			AND (?5 = '' OR instr(body, ?5) OR instr(subject, ?5) OR instr(id, ?5))
		ORDER BY n DESC LIMIT +?3`, before, q.State, q.Size()+1, after, q.Contains)
	if q.N > 0 {
		list.Next = ""
	}
	return list, err
}

// searchedAfter is the number of the last letter that a search does not look at; 0
// when nothing is searched.
func searchedAfter(v *View, text string) (n int64, err error) {
	if text == "" {
		return 0, nil
	}
	err = v.Row(`SELECT coalesce(max(n), 0) FROM _dead`).Scan(&n)
	return n - api.MaxSearched, err
}

// parseCursor reads the number of the last letter of the page before.
func parseCursor(s string) (int64, error) {
	if s == "" {
		return 1 << 62, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, api.Refuse(api.CodeInvalid, "this is not a cursor").At("cursor")
	}
	return n, nil
}
