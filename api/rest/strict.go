package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Marks on names of a body that is to be validated. No field has such a name,
// so the validation names them as unexpected; place takes the marks off.
const (
	// markCase is on a name that is only like a field's: encoding/json and
	// huma would take it for the field.
	markCase = "\x00"
	// markTwice is on a name that stands in its object before; of the two,
	// encoding/json would take the later one.
	markTwice = "\x00\x00"
)

// unmarshal reads a request's body. huma calls it twice: for the tree that it
// validates, and for the struct that the handler gets.
func unmarshal(data []byte, v any) error {
	if tree, ok := v.(*any); ok && json.Valid(data) {
		*tree = parse(data)
		return nil
	}
	err := json.Unmarshal(data, v)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s can't be read as %s", wrong.Field, wrong.Type)
	}
	return err
}

// parse reads valid JSON, without exceptions for what a client may have meant:
// fields have one spelling and come once, and a whole number is written as one.
func parse(data []byte) any {
	p := parser{data}
	return p.value()
}

// parser reads JSON that json.Valid has let pass, so it has no errors and its
// depth is bounded.
type parser struct{ rest []byte }

// next skips space and what separates values, and answers what comes then.
func (p *parser) next() byte {
	for i, c := range p.rest {
		switch c {
		case ' ', '\t', '\n', '\r', ',', ':':
		default:
			p.rest = p.rest[i:]
			return c
		}
	}
	return 0
}

func (p *parser) value() any {
	switch p.next() {
	case '{':
		return p.object()
	case '[':
		return p.list()
	case '"':
		return p.text()
	case 't':
		p.take(len("true"))
		return true
	case 'f':
		p.take(len("false"))
		return false
	case 'n':
		p.take(len("null"))
		return nil
	}
	return p.number()
}

func (p *parser) object() map[string]any {
	p.take(1)
	m := map[string]any{}
	for p.next() != '}' {
		name := p.text()
		if !isFieldName(name) {
			name += markCase
		}
		if _, twice := m[name]; twice {
			name += markTwice
		}
		m[name] = p.value()
	}
	p.take(1)
	return m
}

func (p *parser) list() []any {
	p.take(1)
	all := []any{}
	for p.next() != ']' {
		all = append(all, p.value())
	}
	p.take(1)
	return all
}

func (p *parser) text() string {
	end, plain := 1, true
	for ; p.rest[end] != '"'; end++ {
		if p.rest[end] == '\\' {
			plain = false
			end++
		}
	}
	b := p.take(end + 1)
	if plain && utf8.Valid(b) {
		return string(b[1:end])
	}
	var s string
	_ = json.Unmarshal(b, &s) // it is valid
	return s
}

// number is a float64, or a json.Number for what Go would not read into a
// whole number though it is one, such as 1e3, and for what is too large. The
// validation takes a json.Number for no number, and says where it stands.
func (p *parser) number() any {
	end := 0
	for end < len(p.rest) && strings.IndexByte("+-.eE0123456789", p.rest[end]) >= 0 {
		end++
	}
	s := string(p.take(end))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return float64(n)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f != math.Trunc(f) {
		return f
	}
	return json.Number(s)
}

func (p *parser) take(n int) []byte {
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

// isFieldName tells whether s is spelled as the API's fields are.
func isFieldName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}
