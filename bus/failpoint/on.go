//go:build failpoint

// Package failpoint lets a process end itself, as kill -9 would, at named
// places of the runtime.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Variable is the environment variable that arms a failpoint:
// <place>:<actor>:<n> ends the process when the actor comes to the place for
// the n-th time. What can't be read arms none.
const Variable = "ORDO_FAILPOINT"

// armed reads the variable once.
var armed = sync.OnceValue(func() *trap {
	parts := strings.Split(os.Getenv(Variable), ":")
	if len(parts) != 3 {
		return &trap{}
	}
	n, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return &trap{}
	}
	return &trap{place: parts[0], actor: parts[1], n: n}
})

type trap struct {
	place, actor string
	n            int64
	come         atomic.Int64
}

// At ends the process with SIGKILL, and a line on stderr that says where, when
// it is the place, the actor and the time that the environment names.
func At(place, actor string) {
	t := armed()
	if place != t.place || actor != t.actor || t.come.Add(1) != t.n {
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint %s:%s:%d\n", place, actor, t.n)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
