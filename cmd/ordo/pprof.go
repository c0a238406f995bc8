package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"ordo/api/origin"
)

// Limits of one profile, in seconds. A trace of a busy shop has many MiB a
// second.
const (
	maxProfileSeconds = 30
	maxTraceSeconds   = 5
)

// startPprof serves Go's profiler on an address of its own, loopback only, to who
// calls it by a loopback name; none for an empty one.
func startPprof(addr string) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("pprof: %w", err)
	}
	if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("pprof: %s is not a loopback address", addr)
	}
	s := &http.Server{Handler: onlyHere(profiler()), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }() // ends with Close
	return func() { _ = s.Close() }, nil
}

// onlyHere refuses requests by another name than this machine's, as a browser makes
// them for a page of somebody else.
func onlyHere(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !origin.FromHere(r) {
			http.Error(w, "the profiler is for this machine", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// profiler serves Go's profiles, but for what tells the command line.
func profiler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", atMost(maxTraceSeconds, pprof.Index))
	mux.HandleFunc("/debug/pprof/profile", atMost(maxProfileSeconds, pprof.Profile))
	mux.HandleFunc("/debug/pprof/trace", atMost(maxTraceSeconds, pprof.Trace))
	return mux
}

// atMost refuses a profile that would take longer.
func atMost(seconds float64, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text := r.FormValue("seconds")
		if n, err := strconv.ParseFloat(text, 64); text != "" && !(err == nil && n > 0 &&
			n <= seconds) {
			http.Error(w, fmt.Sprintf("seconds must be above 0 and at most %v", seconds),
				http.StatusUnprocessableEntity)
			return
		}
		serve(w, r)
	}
}
