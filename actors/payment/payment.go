// Package payment is the actor of money at gateways. It decides which attempt
// pays an order, whether an order is paid or closed, what came too late or
// twice, and under which number money goes back. It never calls a gateway
// itself: workers do, and bring what the gateway said as a message.
package payment

import (
	"database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ordo/actors"
	"ordo/api"
)

//go:embed schema.sql
var schema string

// migrations are the later versions of the tables.
//
//go:embed 0*.sql
var migrations embed.FS

// orderSteps are the payments and refunds as steps of orders. A payment that is
// closing is as good as undone.
const orderSteps = `SELECT order_id, step, occurrence, CASE state WHEN 'paid' THEN 'done'
		WHEN 'closed' THEN 'undone' WHEN 'open' THEN 'asked' ELSE state END AS state
		FROM %[1]s.payment
	UNION ALL SELECT order_id, step, occurrence, iif(state = 'open', 'asked', state)
		FROM %[1]s.refund WHERE kind = 'order'`

// Spec describes the payment actor.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "payment",
		Version:     "1.2.0",
		Description: "Collects what orders are owed, and sends money back.",
		Schema:      schema,
		Migrations:  migrations,
		Steps:       orderSteps,
		Commands: []actors.Command{
			actors.On(collect).From("order"),
			actors.On(closePayment).From("order"),
			actors.On(release),
			actors.On(openAttempt),
			actors.On(noteTrade),
			actors.On(noteRefund),
			actors.On(noteIncident),
			actors.On(refund).From("order"),
			actors.On(configure),
		},
		Queries: []actors.Endpoint{
			actors.Answer("What an order is owed and what came.", getPayment),
			actors.Answer("One attempt to pay by its id.", getAttempt),
			actors.Answer("Payments by state, newest first.", listPayments),
			actors.Answer("Incidents about money, newest first.", listIncidents),
			actors.Answer("Money that moved at gateways, oldest first.", listLog),
			actors.Answer("The row of the pay log with a provider's number.", findTrade),
		},
		Tick: sweep,
		Outcomes: map[string]func(*actors.Tx, *api.Outcome) error{
			api.EffectPayOpen:   opened,
			api.EffectPayQuery:  queried,
			api.EffectPayClose:  closed,
			api.EffectPayRefund: refunded,
		},
		Again: []string{api.EffectPayOpen, api.EffectPayQuery, api.EffectPayClose,
			api.EffectPayRefund},
	}
}

// What the ids of effects begin with; the attempt's or the refund's id follows.
const (
	openEffect   = "open-"
	queryEffect  = "qry-" // and how manieth query it is
	closeEffect  = "cls-"
	refundEffect = "rfd-"
)

// attemptOf is the attempt that an effect is about. Ids of attempts have no
// hyphen.
func attemptOf(effect string) string {
	_, id, _ := strings.Cut(effect, "-")
	id, _, _ = strings.Cut(id, "-")
	return id
}

// attempt is an attempt with what its owner does not see, and the payment that
// it is for.
type attempt struct {
	api.Attempt
	// captured is what came on it, returned what goes or went back of it.
	captured, returned int64
	// queries is how often the gateway was asked about it, queried when last.
	queries int64
	queried api.Time

	// payState, paidBy and step are the payment's.
	payState string
	paidBy   string
	step     api.Step
}

const attemptColumns = `a.id, a.order_id, p.user, a.provider, a.product, a.amount, a.currency,
	a.state, a.link, a.opened_at, a.expires_at, a.trade_no, a.paid_at, a.closed_at, a.problem`

// scanAttempt reads attemptColumns, and further columns into more.
func scanAttempt(r actors.Row, a *api.Attempt, more ...any) error {
	var link string
	var problem sql.NullString
	err := r.Scan(append([]any{&a.ID, &a.Order, &a.User, &a.Provider, &a.Product,
		&a.Amount.Amount, &a.Amount.Currency, &a.State, &link, &a.OpenedAt, &a.ExpiresAt,
		&a.TradeNo, &a.PaidAt, &a.ClosedAt, &problem}, more...)...)
	if err == nil && link != "" {
		err = json.Unmarshal([]byte(link), &a.Link)
	}
	if err == nil && problem.Valid {
		err = json.Unmarshal([]byte(problem.String), &a.Problem)
	}
	return err
}

// load reads an attempt with its payment; ErrNoRows when there is none.
func load(tx *actors.Tx, id string) (*attempt, error) {
	a := &attempt{}
	err := scanAttempt(tx.Row(`SELECT `+attemptColumns+`, a.captured, a.returned, a.queries,
		a.queried_at, p.state, p.attempt, p.step, p.occurrence
		FROM attempt a JOIN payment p ON p.order_id = a.order_id WHERE a.id = +?`, id),
		&a.Attempt, &a.captured, &a.returned, &a.queries, &a.queried, &a.payState, &a.paidBy,
		&a.step.Name, &a.step.Occurrence)
	a.step.Order = a.Order
	return a, err
}

// remoteUnknown tells whether only the gateway can say the attempt's link, and
// has not yet: nothing can be asked about such a trade.
func (a *attempt) remoteUnknown() bool {
	return api.Remote(a.Provider, a.Product) && a.Link == (api.Link{})
}

// decode reads the outcome of an effect. What can't be read is a fault.
func decode[T any](o *api.Outcome) (v T, err error) {
	if err = json.Unmarshal(o.Data, &v); err != nil {
		err = fmt.Errorf("outcome of %s: %w", o.Effect, err)
	}
	return v, err
}

// configured are the rules in force.
func configured(tx *actors.Tx) (c api.ConfigurePayments, err error) {
	c = api.ConfigurePayments{MarginSeconds: 60, QuerySeconds: 15}
	return c, tx.Config(&c)
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func invalid(place, format string, args ...any) *api.Error {
	return api.Refuse(api.CodeInvalid, format, args...).At(place)
}
