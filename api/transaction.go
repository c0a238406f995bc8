package api

import (
	"slices"
	"strings"
)

// ListTransactions asks for orders as support looks for them, newest first. The
// answer is a TransactionList. Row M7.
type ListTransactions struct {
	Page
	// State, User and SKU each narrow the list when not empty.
	State string `json:"state,omitempty"`
	User  string `json:"user,omitempty"`
	SKU   string `json:"sku,omitempty"`
	// Stuck leaves those with a step that was asked for, or is being undone, and
	// is not answered. A placed order that waits for its payment is not stuck.
	Stuck bool `json:"stuck,omitempty"`
	// Before leaves those that were submitted, or with Stuck those whose oldest
	// unanswered step was asked for, before this time; 0 for any time.
	Before Time `json:"before,omitzero"`
	// Now is the asker's time: an order that is still placed a minute after its
	// deadline is stuck as well. These come after the others, the longest first. 0
	// leaves those out.
	Now Time `json:"now,omitzero"`
}

// Endpoint implements Query.
func (*ListTransactions) Endpoint() Route { return Route{"order", "transactions"} }

// TransactionList answers ListTransactions. It may hold fewer than asked for, even
// none, and still have a Next, because one answer looks at MaxExamined orders.
type TransactionList struct {
	Transactions []Transaction `json:"items"`
	Next         string        `json:"next,omitempty"`
}

// MaxExamined is the most orders that one answer to ListTransactions looks at.
const MaxExamined = 2000

// Transaction is an order in short, with what it waits for.
type Transaction struct {
	Order    string `json:"order"`
	User     string `json:"user"`
	State    string `json:"state"`
	Total    Money  `json:"total"`
	Due      Money  `json:"due"`
	Refunded Money  `json:"refunded"`
	Created  Time   `json:"created"`
	// Deadline is when it must be decided or paid; 0 for none.
	Deadline Time `json:"deadline,omitzero"`
	// Reason is why it was refused or cancelled.
	Reason *Error `json:"reason,omitempty"`
	// Waits are the steps that have not been answered.
	Waits []StepView `json:"waits"`
}

// RetryOrder asks again for every step of the order that has not been answered.
// Participants know repeats, so it does no harm. Refusals: CodeNotFound,
// CodeNothingToRetry, CodeInvalid. The outcome is a Retried. Row M7.
type RetryOrder struct {
	Order string `json:"order"`
	// By is who asks, Reason why; both are kept in the journal.
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// Route implements Message.
func (*RetryOrder) Route() Route { return Route{"order", "retry"} }

// CodeNothingToRetry: all steps of the order have been answered.
const CodeNothingToRetry Code = "nothing_to_retry"

// Retried answers RetryOrder: the names of the steps asked for again.
type Retried struct {
	Steps []string `json:"steps"`
}

// Intervention is the Data of EventOrderRetried, EventOrderSettled and
// EventCancelFailed: what a person had done about an order, or wanted to.
type Intervention struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Steps are those asked for again.
	Steps []string `json:"steps,omitempty"`
	// Found is what participants knew of the order.
	Found []FoundStep `json:"found,omitempty"`
}

// GetTally asks how many orders are in each state, and how many came into each
// in the last minutes. The answer is a Tally.
type GetTally struct {
	// Minutes is how many of the last minutes are wanted, at most MaxTally.
	Minutes int `json:"minutes,omitempty"`
	// Until is when they end; 0 for the last one in which anything happened.
	Until Time `json:"until,omitzero"`
}

// MaxTally is the most minutes of a tally: a day.
const MaxTally = 24 * 60

// Endpoint implements Query.
func (*GetTally) Endpoint() Route { return Route{"order", "tally"} }

// Tally answers GetTally.
type Tally struct {
	// States counts the orders that are in each state now.
	States map[string]int64 `json:"states"`
	// Minutes are those in which anything happened, oldest first.
	Minutes []TallyMinute `json:"minutes"`
}

// TallyMinute counts the orders that came into each state in a minute, by the
// time of the messages that the order actor handled.
type TallyMinute struct {
	At      Time             `json:"at"`
	Entered map[string]int64 `json:"entered"`
}

// Missing is a part of an answer that is not known now.
type Missing struct {
	// Part is the field of the answer that lacks it.
	Part string `json:"part"`
	// Actor has it; empty for what the streams have.
	Actor string `json:"actor,omitempty"`
	// Why is for people: goods does not answer.
	Why string `json:"why"`
}

// MissingList is all that an answer lacks.
type MissingList []Missing

// Unknown says why a part is not known, or not all of it: unknown: goods does not
// answer. It is empty for a part that is known.
func (l MissingList) Unknown(part string) string {
	var all []string
	for _, m := range l {
		if m.Part == part && !slices.Contains(all, m.Why) {
			all = append(all, m.Why)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "unknown: " + strings.Join(all, "; ")
}

// partWords are for people what parts are, where their names don't say it.
var partWords = map[string]string{"orders": "orders by state", "dead": "dead letters",
	"letters": "dead letters", "stuck": "stuck orders", "effects": "calls to the world outside",
	"attempts": "attempts to pay", "events": "journal", "messages": "what it has handled",
	"found": "what it has done", "order": "how the order is now"}

// Lines say for each reason which parts are not known because of it.
func (l MissingList) Lines() (lines []string) {
	parts := map[string][]string{}
	var whys []string
	for _, m := range l {
		if parts[m.Why] == nil {
			whys = append(whys, m.Why)
		}
		part := m.Part
		if words := partWords[part]; words != "" {
			part = words
		}
		if !slices.Contains(parts[m.Why], part) {
			parts[m.Why] = append(parts[m.Why], part)
		}
	}
	for _, why := range whys {
		lines = append(lines, "unknown: "+why+" ("+strings.Join(parts[why], ", ")+")")
	}
	return lines
}

// CodeCannotSettle: messages can't bring the order and its participants together;
// a person must.
const CodeCannotSettle Code = "cannot_settle"
