//go:build !failpoint

// Package failpoint lets a process end itself, as kill -9 would, at named
// places of the runtime. Only a binary built with -tags failpoint can; in any
// other the calls are empty and cost nothing.
package failpoint

// Variable is the environment variable that arms a failpoint; empty in a
// binary without them.
const Variable = ""

// At is a place where a binary with failpoints may end.
func At(string, string) {}
