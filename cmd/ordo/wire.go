package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"ordo/api"
)

// wire is one kept HTTP/1.1 connection of the bench client. The client shares
// the machine with the shop it measures, so it must cost next to nothing:
// requests are bytes made before the clock starts, and of an answer only the
// status, the length and single fields are read. net/http costs several times
// as much. It reads what ordo's own server sends: answers with a length.
type wire struct {
	host string
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close() // it is of no use any more
		w.conn = nil
	}
}

// roundTrip sends a request and reads the answer. The body is good until the
// next call. After an error the next call connects again.
func (w *wire) roundTrip(request []byte) (status int, body []byte, err error) {
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.conn == nil {
		if w.conn, err = net.DialTimeout("tcp", w.host, 10*time.Second); err != nil {
			return 0, nil, err
		}
		w.in = bufio.NewReaderSize(w.conn, 16<<10)
	}
	if err := w.conn.SetDeadline(time.Now().Add(benchDecision)); err != nil {
		return 0, nil, err
	}
	if _, err := w.conn.Write(request); err != nil {
		return 0, nil, err
	}
	status, length, last, err := w.readHead()
	if err != nil {
		return 0, nil, err
	}
	if cap(w.body) < length {
		w.body = make([]byte, length)
	}
	w.body = w.body[:length]
	if _, err := io.ReadFull(w.in, w.body); err != nil {
		return 0, nil, err
	}
	if last {
		w.close()
	}
	return status, w.body, nil
}

// readHead reads status line and headers; last means that the server closes.
func (w *wire) readHead() (status, length int, last bool, err error) {
	if status, err = w.readStatus(); err != nil {
		return 0, 0, false, err
	}
	length = -1
	for {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return 0, 0, false, err
		}
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		switch {
		case len(name) == 0 && length < 0 && status != 204:
			return 0, 0, false, errors.New("an answer without a length")
		case len(name) == 0:
			return status, max(length, 0), last, nil
		case ok && bytes.EqualFold(name, []byte("content-length")):
			if length, err = lengthOf(value); err != nil {
				return 0, 0, false, err
			}
		case ok && bytes.EqualFold(name, []byte("connection")):
			last = bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		}
	}
}

func (w *wire) readStatus() (int, error) {
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("not an HTTP/1.1 answer: %q", line)
	}
	return strconv.Atoi(string(line[9:12]))
}

func lengthOf(value []byte) (int, error) {
	n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
	if err != nil || n < 0 || n > maxAnswer {
		return 0, fmt.Errorf("content length %q", value)
	}
	return n, nil
}

// field is the string value of the first field of that name in a JSON text
// that has no such text in values before it.
func field(body []byte, name string) []byte {
	_, rest, ok := bytes.Cut(body, []byte(`"`+name+`":"`))
	if !ok {
		return nil
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return value
}

// benchOrder is one order ready to be sent: both requests as bytes, the second
// with a place for the token of the first's answer.
type benchOrder struct {
	checkout, order []byte
	// token is the place of the checkout token in order.
	token int
	// open is true once the token is there.
	open bool
	// session is the shopper's.
	session string
	// id is the order's, once it is placed, and done when it came to its end.
	id   string
	done time.Time
}

// blankToken is as long as any checkout token.
const blankToken = "chk_00000000000000000000000000"

// load makes the orders of a row, with a coupon each.
func (b *bench) load(ctx context.Context, row int) ([]benchOrder, error) {
	now := time.Now().Truncate(time.Second)
	coupons := make([]newCoupon, b.cmd.Orders)
	for i := range coupons {
		coupons[i] = newCoupon{User: b.users[i%len(b.users)].ID, Name: "Bench",
			Amount: b.money(benchDiscount), Minimum: b.money(0),
			From: api.TimeOf(now.Add(-time.Hour)), Until: api.TimeOf(now.Add(24 * time.Hour))}
	}
	ids, err := b.admin.coupons(ctx, fmt.Sprintf("%s-%d", b.run, row), coupons)
	if err != nil {
		return nil, err
	}
	load := make([]benchOrder, b.cmd.Orders)
	for i := range load {
		user := i % len(b.users)
		o := &load[i]
		o.session = b.users[user].Token
		o.checkout = b.post("/v1/checkouts", o.session, map[string]any{
			"sku": b.skus[i%len(b.skus)], "quantity": 1})
		o.order = b.post("/v1/orders?wait=10", o.session, map[string]any{
			"token": blankToken, "address_id": b.addresses[user], "coupon": ids[i],
			"balance": b.money(benchBalance), "pay_method": api.PayAlipay,
			"channel": api.ChannelWeb, "total": b.money(benchPrice - benchDiscount)})
		o.token = bytes.Index(o.order, []byte(blankToken))
	}
	return load, nil
}

// get is a request as it goes over the wire.
func (b *bench) get(path, session string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path,
		b.host, session)
}

// post is a request as it goes over the wire.
func (b *bench) post(path, session string, body any) []byte {
	data := api.Raw(body)
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, b.host, session,
		len(data), data)
}

// openCheckout gets the token and puts it into the order.
func (o *benchOrder) openCheckout(w *wire) error {
	status, body, err := w.roundTrip(o.checkout)
	if err != nil {
		return fmt.Errorf("checkout: %w", err)
	}
	token := field(body, "token")
	if status != 201 && status != 200 || len(token) != len(blankToken) {
		return fmt.Errorf("checkout: %d %s", status, body[:min(len(body), 300)])
	}
	copy(o.order[o.token:], token)
	o.open = true
	return nil
}

// submit sends the order until it is decided, which must be as placed. What is
// not decided in time is asked again with the same token.
func (o *benchOrder) submit(w *wire) error {
	for deadline := time.Now().Add(benchDecision); ; {
		status, body, err := w.roundTrip(o.order)
		switch {
		case err != nil:
			return fmt.Errorf("order: %w", err)
		case status == 202 && time.Now().Before(deadline):
			continue
		case status != 201 && status != 200 || string(field(body, "state")) != api.OrderPlaced:
			return fmt.Errorf("order: %d %s", status, body[:min(len(body), 300)])
		}
		o.id = string(field(body, "id"))
		return nil
	}
}
