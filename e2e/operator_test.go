package e2e

import (
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"ordo/bus"
)

// operatorInbox is where answers to the user operator of nats.conf come to.
const operatorInbox = "_INBOX.operator"

// personal are fields of messages that say something of a person, or are as good
// as a password.
var personal = regexp.MustCompile(`"(address|recipient|phone|email|password_hash|secret|token)":`)

// looks are commands of the nats CLI that the operator may give, with what they
// print.
var looks = [][2]string{
	{"stream ls", "Mailbox of the order actor"},
	{"stream info EVENTS", `"messages"`},
	{"stream get GOODS 1", "ordo.goods.0."},
	{"consumer report ORDER", "order-0"},
	{"consumer report TIMERS", "timer-order-"},
	{"consumer info GOODS goods-0", `"ack_floor"`},
	{"kv ls", "owner"},
	{"kv get owner order.0 --raw", `"owner":`},
	{"micro ls", "ordo-shipping"},
	{"micro info ordo-order", "Coordinates the life"},
	{"micro stats ordo-order", "num_requests"},
	{"micro ping", "ordo-journal"},
	{"request ordo.q.goods.status {}", `"ready":true`},
	{"request ordo.q.order.transactions {}", `"items"`},
	{"request ordo.q.user.schema {}", "ordo.user.0.register"},
}

// confLooks has the operator look at all that it may.
func confLooks(t *testing.T, s *server.Server) {
	t.Helper()
	tool := filepath.Join(buildTools(t, "nats"), "nats")
	for _, l := range looks {
		args := append(strings.Fields(l[0]), "--server", confURL(s, "operator"), "--inbox-prefix",
			operatorInbox)
		out, err := exec.Command(tool, args...).CombinedOutput()
		if text := string(out); err != nil || !strings.Contains(text, l[1]) ||
			strings.Contains(text, "ermissions") || personal.MatchString(text) {
			t.Errorf("nats %s: %v\n%s", l[0], err, out)
		}
	}
	confReads(t, s)
	// Its answers come as well where nobody says where to.
	said, _ := exec.Command(binary, "doctor", "--data", t.TempDir(), "--nats",
		confURL(s, "operator")).CombinedOutput() // the exit code is of all that it looks at
	for _, bad := range []string{"can't be asked", "may not look"} {
		if strings.Contains(string(said), bad) || !strings.Contains(string(said), "nats.table") {
			t.Errorf("ordo doctor:\n%s", said)
		}
	}
}

// confReads reads every message that the operator may: none says anything of a
// person.
func confReads(t *testing.T, s *server.Server) {
	t.Helper()
	nc, err := nats.Connect(confURL(s, "operator"), nats.CustomInboxPrefix(operatorInbox))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	m, err := jsm.New(nc, jsm.WithTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, user := range confRights(t)["operator"] {
		name, ok := strings.CutPrefix(user, "$JS.API.STREAM.MSG.GET.")
		if !ok {
			continue
		}
		stream, err := m.LoadStream(name)
		if err != nil {
			t.Fatal(err)
		}
		state, err := stream.State()
		if err != nil {
			t.Fatal(err)
		}
		for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
			msg, err := stream.ReadMessage(seq)
			if err != nil {
				continue // dropped by now
			}
			if read++; personal.Match(msg.Data) {
				t.Errorf("%s %d: %s", name, seq, msg.Data)
			}
		}
	}
	if read < 50 {
		t.Errorf("only %d messages", read)
	}
}

// ACCEPT M6
// Nobody hears answers to others, nor what goes to others' mailboxes. The operator
// hears no news of the shop either.
func TestConfUsersHearOnlyTheirOwn(t *testing.T) {
	s := confServer(t)
	for _, user := range append(bus.ActorNames(), "api", "operator") {
		refused := make(chan error, 1)
		nc, err := nats.Connect(confURL(s, user), nats.ErrorHandler(
			func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		not := []string{">", "_INBOX.>", "_INBOX.*", "_INBOX.someone.>", bus.EventPrefix + ">",
			bus.MailboxSubject("someone", "register"), "$KV.session.>", "ordo.deliver.someone-0"}
		if user == "operator" {
			not = append(not, bus.WakePrefix+">")
		}
		for _, subject := range not {
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-refused:
				if !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("%s, %s: %v", user, subject, err)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s may subscribe to %s", user, subject)
			}
		}
	}
}
