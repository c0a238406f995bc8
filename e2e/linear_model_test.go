package e2e

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// What is done to an account of units: the stock of a SKU or a user's balance.
const (
	opTake  = "take" // an order takes units
	opLock  = "lock" // an order locks units
	opFree  = "free" // a cancelled order gives units back
	opPut   = "put"  // units come in
	opRead  = "read" // somebody looks
	forever = math.MaxInt64
)

// linearInput is one operation on one account.
type linearInput struct {
	account string
	op      string
	units   int64
}

// linearOutput is its answer. What is not known may have happened, at any time
// since, or may not.
type linearOutput struct {
	known, refused bool
	// have and locked are what a look showed.
	have, locked int64
}

// linearState is an account: units that are there, locked ones included.
type linearState struct{ have, locked int64 }

// accounts is the model of accounts that begin with so many units each. An
// operation of which nothing is known counts as done where it can be; as it
// never ends, it may also come after everything else, which is as if it had
// not happened.
func accounts(begin map[string]int64) porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
			at := map[string]int{}
			for _, o := range history {
				name := o.Input.(linearInput).account
				i, ok := at[name]
				if !ok {
					i = len(parts)
					at[name] = i
					first := porcupine.Operation{Input: linearInput{name, opPut, begin[name]},
						Output: linearOutput{known: true}, Call: math.MinInt64, Return: math.MinInt64}
					parts = append(parts, []porcupine.Operation{first})
				}
				parts[i] = append(parts[i], o)
			}
			return parts
		},
		Init: func() any { return linearState{} },
		Step: func(state, input, output any) (bool, any) {
			return step(state.(linearState), input.(linearInput), output.(linearOutput))
		},
		DescribeOperation: func(input, output any) string {
			in, out := input.(linearInput), output.(linearOutput)
			return fmt.Sprintf("%s %d → %+v", in.op, in.units, out)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

func step(s linearState, in linearInput, out linearOutput) (bool, linearState) {
	switch in.op {
	case opTake, opLock:
		enough := s.have-s.locked >= in.units
		if out.known && enough == out.refused {
			return false, s
		}
		switch {
		case !enough:
		case in.op == opTake:
			s.have -= in.units
		default:
			s.locked += in.units
		}
		return true, s
	case opFree:
		ok := s.locked >= in.units
		if ok {
			s.locked -= in.units
		}
		return ok || !out.known, s
	case opPut:
		s.have += in.units
		return true, s
	default: // opRead
		return s == linearState{out.have, out.locked}, s
	}
}

// linearizable checks a history.
func linearizable(begin map[string]int64, history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(accounts(begin), history, time.Minute)
}

// at is an operation from one moment to another.
func at(call, ret int64, op string, units int64, out linearOutput) porcupine.Operation {
	return porcupine.Operation{Input: linearInput{"A", op, units}, Call: call, Return: ret,
		Output: out}
}

// The check finds histories that no account can have, and takes those that one
// can.
func TestLinearCheck(t *testing.T) {
	done, no := linearOutput{known: true}, linearOutput{known: true, refused: true}
	look := func(have, locked int64) linearOutput { return linearOutput{true, false, have, locked} }
	for _, c := range []struct {
		name    string
		history []porcupine.Operation
		want    porcupine.CheckResult
	}{
		{"the last unit twice", []porcupine.Operation{
			at(1, 4, opLock, 6, done), at(2, 5, opLock, 6, done)}, porcupine.Illegal},
		{"one of two", []porcupine.Operation{
			at(1, 4, opLock, 6, done), at(2, 5, opLock, 6, no)}, porcupine.Ok},
		{"refused though there is enough", []porcupine.Operation{
			at(1, 2, opLock, 10, no)}, porcupine.Illegal},
		{"an old look", []porcupine.Operation{
			at(1, 2, opLock, 3, done), at(3, 4, opRead, 0, look(10, 0))}, porcupine.Illegal},
		{"a look meanwhile", []porcupine.Operation{
			at(1, 4, opLock, 3, done), at(2, 3, opRead, 0, look(10, 0))}, porcupine.Ok},
		{"given back twice", []porcupine.Operation{
			at(1, 2, opLock, 3, done), at(3, 4, opFree, 3, done), at(5, 6, opFree, 3, done)},
			porcupine.Illegal},
		{"come in twice", []porcupine.Operation{
			at(1, 2, opPut, 5, done), at(3, 4, opRead, 0, look(20, 0))}, porcupine.Illegal},
		{"no answer, done", []porcupine.Operation{
			at(1, forever, opTake, 4, linearOutput{}), at(3, 4, opRead, 0, look(6, 0))}, porcupine.Ok},
		{"no answer, not done", []porcupine.Operation{
			at(1, forever, opTake, 4, linearOutput{}), at(3, 4, opRead, 0, look(10, 0))},
			porcupine.Ok},
		{"no answer, done and undone", []porcupine.Operation{
			at(1, forever, opTake, 4, linearOutput{}), at(3, 4, opRead, 0, look(6, 0)),
			at(5, 6, opRead, 0, look(10, 0))}, porcupine.Illegal},
		{"lost", []porcupine.Operation{
			at(1, 2, opPut, 5, done), at(3, 4, opRead, 0, look(10, 0))}, porcupine.Illegal},
	} {
		if got := linearizable(map[string]int64{"A": 10}, c.history); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// checkHistory fails the test for a history that no account can have. Then it
// changes one answer, which the check must find.
func checkHistory(t *testing.T, begin map[string]int64, history []porcupine.Operation) {
	t.Helper()
	began := time.Now()
	counts := map[string]int{}
	for _, o := range history {
		in, out := o.Input.(linearInput), o.Output.(linearOutput)
		kind := in.op
		switch {
		case !out.known:
			kind += "?"
		case out.refused:
			kind += " refused"
		}
		counts[kind]++
	}
	if got := linearizable(begin, history); got != porcupine.Ok {
		t.Errorf("the history is %s:\n%s", got, describe(history))
	}
	t.Logf("%d operations checked in %s: %v", len(history), time.Since(began).Round(time.Millisecond),
		counts)
	for _, read := range []bool{true, false} {
		if altered := alter(history, read); altered == nil {
			t.Errorf("there is nothing to alter; reads: %t", read)
		} else if got := linearizable(begin, altered); got != porcupine.Illegal {
			t.Errorf("with an answer altered the history is %s; a read: %t", got, read)
		}
	}
}

// alter changes an answer to one that can't be: a look at one unit more, where
// units come and go by the even number, or more taken than there ever was.
func alter(history []porcupine.Operation, read bool) []porcupine.Operation {
	altered := slices.Clone(history)
	for i, o := range slices.Backward(altered) {
		in, out := o.Input.(linearInput), o.Output.(linearOutput)
		wanted := in.op == opTake || in.op == opLock
		if read {
			wanted = in.op == opRead
		}
		if !wanted || !out.known || out.refused {
			continue
		}
		if read {
			out.have++
		} else {
			in.units += 1_000_000_000
		}
		altered[i].Input, altered[i].Output = in, out
		return altered
	}
	return nil
}

func describe(history []porcupine.Operation) string {
	var b strings.Builder
	for _, o := range history {
		fmt.Fprintf(&b, "%d %d %+v %+v\n", o.Call, o.Return, o.Input, o.Output)
	}
	return b.String()
}
