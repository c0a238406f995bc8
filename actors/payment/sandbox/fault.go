package sandbox

import (
	"bytes"
	"net/http"
	"sync"
	"time"

	"ordo/actors/payment/alipay"
)

// faultMode is a way in which the gateway misbehaves.
type faultMode string

// The modes. With those that are late the call is carried out, and its answer
// goes wrong; with the others nothing happens but what the caller sees.
const (
	faultNone        faultMode = ""
	faultHang        faultMode = "hang"         // no answer until the caller gives up
	faultGarbage     faultMode = "garbage"      // 200 with bytes that mean nothing
	faultHTML        faultMode = "html"         // 200 with a page
	fault500         faultMode = "500"          // status 500
	faultUnavailable faultMode = "unavailable"  // code 20000, signed
	faultSystemError faultMode = "system-error" // ACQ.SYSTEM_ERROR, signed
	faultUnsigned    faultMode = "unsigned"     // late: the answer without its signature
	faultForged      faultMode = "forged"       // late: the answer with a wrong one
	faultLost        faultMode = "lost-answer"  // late: status 500
)

// hangTime is the longest that a hanging call is held.
const hangTime = time.Minute

// maxFaults bounds how many calls go wrong by one control call.
const maxFaults = 1_000_000

func (m faultMode) late() bool {
	return m == faultUnsigned || m == faultForged || m == faultLost
}

func (m faultMode) known() bool {
	switch m {
	case faultHang, faultGarbage, faultHTML, fault500, faultUnavailable, faultSystemError:
		return true
	}
	return m.late()
}

// faults are the calls that are to go wrong, by method.
type faults struct {
	lock sync.Mutex
	left map[string]fault
}

type fault struct {
	mode  faultMode
	times int
}

// set lets the next calls of a method go wrong; none takes that back.
func (f *faults) set(method string, mode faultMode, times int) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.left == nil {
		f.left = map[string]fault{}
	}
	if delete(f.left, method); mode != faultNone {
		f.left[method] = fault{mode, times}
	}
}

// take is how this call of a method goes wrong.
func (f *faults) take(method string) faultMode {
	f.lock.Lock()
	defer f.lock.Unlock()
	next, ok := f.left[method]
	if !ok {
		return faultNone
	}
	if next.times--; next.times <= 0 {
		delete(f.left, method)
	} else {
		f.left[method] = next
	}
	return next.mode
}

// fail answers a call without carrying it out.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, mode faultMode) {
	switch mode {
	case faultHang:
		timer := time.NewTimer(hangTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-g.run.Done():
		}
		panic(http.ErrAbortHandler) // net/http's way to drop a connection
	case faultGarbage:
		_, _ = w.Write([]byte("\x00\xff}{\"alipay_trade"))
	case faultHTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><body><h1>502 Bad Gateway</h1></body></html>"))
	case faultUnavailable:
		g.reply(w, r.Form.Get("method"), refuse(subUnavailable))
	case faultSystemError:
		g.reply(w, r.Form.Get("method"), refuse(alipay.SubSystemError))
	default:
		http.Error(w, "sandbox: a fault was asked for", http.StatusInternalServerError)
	}
}

// faultyWriter spoils the answer of a call that was carried out.
type faultyWriter struct {
	http.ResponseWriter
	mode faultMode
	sent bool
}

// WriteHeader implements http.ResponseWriter.
func (w *faultyWriter) WriteHeader(status int) {
	if w.mode == faultLost {
		w.Header().Del("Location")
		status = http.StatusInternalServerError
	}
	w.sent = true
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter. An envelope comes in one piece.
func (w *faultyWriter) Write(b []byte) (int, error) {
	n := len(b)
	sign := bytes.LastIndex(b, []byte(`,"sign":"`))
	switch {
	case w.mode == faultLost:
		if !w.sent {
			w.WriteHeader(http.StatusInternalServerError)
		}
		b = []byte("sandbox: the answer was lost")
	case w.mode == faultUnsigned && sign >= 0:
		b = append(b[:sign:sign], '}')
	case w.mode == faultForged && sign >= 0:
		b = bytes.Replace(b, []byte(`,"sign":"`), []byte(`,"sign":"AAAA`), 1)
		b = append(b[:len(b)-6:len(b)-6], b[len(b)-2:]...)
	}
	_, err := w.ResponseWriter.Write(b)
	return n, err
}
