package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"ordo/actors/order"
	"ordo/api"
	"ordo/bus"
)

var (
	// routed is a message type with its route; made is where code makes one.
	routed = regexp.MustCompile(`func \(\*(\w+)\) Route\(\) Route { return Route{"(\w+)", "([\w-]+)"} }`)
	made   = regexp.MustCompile(`&api\.(\w+){`)
)

// ACCEPT M6
// Each user of nats.conf may publish every message that the code of its process
// makes. What is refused at run time would hold up all that follows it on its
// channel, so it must not wait for the day when it is sent first.
func TestConfRightsCoverMessages(t *testing.T) {
	routes := map[string]api.Route{}
	for _, m := range routed.FindAllStringSubmatch(readAll(t, "../api/*.go"), -1) {
		routes[m[1]] = api.Route{Actor: m[2], Verb: m[3]}
	}
	if len(routes) < 50 {
		t.Fatalf("only %d messages", len(routes))
	}
	rights := confRights(t)
	checked := 0
	check := func(user string, r api.Route) {
		t.Helper()
		checked++
		if subject := bus.MailboxSubject(r.Actor, r.Verb); !mayPublish(rights[user], subject) {
			t.Errorf("nats.conf: %s may not publish %s", user, subject)
		}
	}
	for _, user := range append(bus.ActorNames(), "api") {
		code := readAll(t, "../actors/"+user+"/*.go")
		if user == "api" { // providers' notices come in here as well
			code = readAll(t, "../api/rest/*.go") + readAll(t, "../actors/payment/[ags]*/*.go")
		}
		for _, m := range made.FindAllStringSubmatch(code, -1) {
			if r, ok := routes[m[1]]; ok {
				check(user, r)
			}
		}
	}
	for _, s := range order.Steps() {
		check("order", s.Do)
		if s.Undo != (api.Route{}) {
			check("order", s.Undo)
		}
	}
	if checked < 60 {
		t.Errorf("only %d messages were looked up", checked)
	}
}

// ACCEPT M6
// Who may send an actor what comes from actors is whom it takes it from.
func TestConfRightsAreThoseOfSenders(t *testing.T) {
	rights := confRights(t)
	for _, spec := range specs() {
		for _, c := range spec.Commands {
			for user := range rights {
				may := mayPublish(rights[user], bus.MailboxSubject(spec.Name, c.Verb))
				sends := slices.Contains(c.Senders, user) || user == spec.Name ||
					user == "api" && len(c.Senders) == 0
				if may && !sends || slices.Contains(c.Senders, user) && !may {
					t.Errorf("nats.conf: that %s may publish %s.%s is %v", user, spec.Name, c.Verb,
						may)
				}
			}
		}
	}
}

// readAll is the text of all files of a pattern but tests.
func readAll(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			all.WriteString(read(t, f))
		}
	}
	return all.String()
}

// confRights are the subjects that each user of nats.conf may publish on.
func confRights(t *testing.T) map[string][]string {
	t.Helper()
	for _, user := range append(bus.ActorNames(), confUsers...) {
		t.Setenv("ORDO_NATS_"+strings.ToUpper(user), confPassword(user))
	}
	opts, err := server.ProcessConfigFile("../nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	rights := map[string][]string{}
	for _, u := range opts.Users {
		if u.Permissions != nil {
			rights[u.Username] = u.Permissions.Publish.Allow
		}
	}
	return rights
}

// mayPublish tells whether a subject matches one of the patterns.
func mayPublish(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return server.SubjectsCollide(pattern, subject)
	})
}
