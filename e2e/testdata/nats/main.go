// Command nats does what the documents ask of the nats command line, so that
// their commands can be tested where there is none. It asks NATS what that tool
// asks, through jsm.go and the micro services' own subjects, and knows no other
// commands and flags.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const wait = 5 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "nats: error:", err)
		os.Exit(1)
	}
}

// tool is a connection and what is asked of it.
type tool struct {
	nc      *nats.Conn
	m       *jsm.Manager
	args    []string
	subject string
	count   int
	since   time.Duration
}

func run(args []string) error {
	flags := flag.NewFlagSet("nats", flag.ContinueOnError)
	t := &tool{}
	url, named, inbox := os.Getenv("NATS_URL"), "", nats.InboxPrefix[:len(nats.InboxPrefix)-1]
	flags.StringVar(&url, "server", url, "")
	flags.StringVar(&named, "context", "", "")
	flags.StringVar(&inbox, "inbox-prefix", inbox, "")
	flags.StringVar(&t.subject, "subject", "", "")
	flags.IntVar(&t.count, "count", 0, "")
	flags.DurationVar(&t.since, "since", 0, "")
	flags.Bool("raw", false, "")
	for len(args) > 0 { // flags may stand anywhere
		if err := flags.Parse(args); err != nil {
			return err
		}
		if args = flags.Args(); len(args) > 0 {
			t.args, args = append(t.args, args[0]), args[1:]
		}
	}
	nc, err := connect(url, named, inbox)
	if err != nil {
		return err
	}
	defer nc.Close()
	t.nc = nc
	if t.m, err = jsm.New(nc, jsm.WithTimeout(wait)); err != nil {
		return err
	}
	return t.do()
}

// connect goes by the named context, where there is a name, else to the URL.
func connect(url, named, inbox string) (*nats.Conn, error) {
	refused := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		fmt.Fprintln(os.Stderr, "nats: error:", err)
	})
	if named != "" {
		return natscontext.Connect(named, refused)
	}
	return nats.Connect(url, nats.Name("nats CLI"), nats.CustomInboxPrefix(inbox), refused)
}

func (t *tool) do() error {
	commands := map[string]func() error{"stream ls": t.streams, "stream info": t.streamInfo,
		"stream view": t.view, "stream get": t.get, "consumer ls": t.consumers,
		"consumer report": t.consumers, "consumer info": t.consumerInfo, "kv ls": t.buckets,
		"kv get": t.value, "micro ls": t.services, "micro info": t.serviceInfo,
		"micro stats": t.serviceStats, "micro ping": t.ping}
	if len(t.args) >= 2 {
		switch t.args[0] {
		case "request", "req":
			return t.request()
		case "sub":
			return t.follow()
		}
		if do := commands[t.args[0]+" "+t.args[1]]; do != nil {
			return do()
		}
	}
	return fmt.Errorf("not known here: %q", t.args)
}

// arg is the nth argument after the command's two words.
func (t *tool) arg(n int) string {
	if len(t.args) > n+2 {
		return t.args[n+2]
	}
	return ""
}

func (t *tool) streams() error {
	all, _, _, err := t.m.Streams(nil)
	for _, s := range all {
		if s.IsKVBucket() {
			continue
		}
		state, err := s.State()
		if err != nil {
			return err
		}
		fmt.Printf("%s\t%d messages\t%s\t%v\n", s.Name(), state.Msgs, s.Description(), s.Metadata())
	}
	return err
}

func (t *tool) streamInfo() error {
	s, err := t.m.LoadStream(t.arg(0))
	if err != nil {
		return err
	}
	info, err := s.Information()
	return errors.Join(err, printJSON(info))
}

func (t *tool) view() error {
	s, err := t.m.LoadStream(t.arg(0))
	if err != nil {
		return err
	}
	options := []jsm.PagerOption{jsm.PagerSize(25), jsm.PagerTimeout(time.Second)}
	if t.subject != "" {
		options = append(options, jsm.PagerFilterSubject(t.subject))
	}
	if t.since > 0 {
		options = append(options, jsm.PagerStartDelta(t.since))
	}
	pages, err := s.PageContents(options...)
	if err != nil {
		return err
	}
	defer pages.Close()
	for range 25 {
		msg, _, err := pages.NextMsg(context.Background())
		if msg == nil {
			return nil // the end
		}
		if err != nil {
			return err
		}
		show(msg)
	}
	return nil
}

func show(m *nats.Msg) {
	fmt.Printf("[%s]\n", m.Subject)
	for name := range m.Header {
		fmt.Printf("  %s: %s\n", name, m.Header.Get(name))
	}
	fmt.Printf("%s\n\n", m.Data)
}

func (t *tool) get() error {
	s, err := t.m.LoadStream(t.arg(0))
	if err != nil {
		return err
	}
	seq, err := strconv.ParseUint(t.arg(1), 10, 64)
	if err != nil {
		return err
	}
	m, err := s.ReadMessage(seq)
	if err != nil {
		return err
	}
	fmt.Printf("Item: %s#%d on Subject %s\n%s\n%s\n", s.Name(), m.Sequence, m.Subject, m.Header,
		m.Data)
	return nil
}

func (t *tool) consumers() error {
	s, err := t.m.LoadStream(t.arg(0))
	if err != nil {
		return err
	}
	_, _, err = s.EachConsumer(func(c *jsm.Consumer) {
		state, err := c.LatestState()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\tack floor %d\tunacked %d\tpending %d\t%s\n", c.Name(),
			state.AckFloor.Stream,
			state.NumAckPending, state.NumPending, c.Description())
	})
	return err
}

func (t *tool) consumerInfo() error {
	c, err := t.m.LoadConsumer(t.arg(0), t.arg(1))
	if err != nil {
		return err
	}
	info, err := c.LatestState()
	return errors.Join(err, printJSON(info))
}

func (t *tool) buckets() error {
	all, _, _, err := t.m.Streams(nil)
	for _, s := range all {
		if s.IsKVBucket() {
			fmt.Printf("%s\t%s\n", strings.TrimPrefix(s.Name(), "KV_"), s.Description())
		}
	}
	return err
}

func (t *tool) value() error {
	s, err := t.m.LoadStream("KV_" + t.arg(0))
	if err != nil {
		return err
	}
	m, err := s.ReadLastMessageForSubject("$KV." + t.arg(0) + "." + t.arg(1))
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", m.Data)
	return nil
}

// ask gathers the answers of all services to a request.
func ask[T any](t *tool, verb micro.Verb, name string) (all []T, err error) {
	subject, err := micro.ControlSubject(verb, name, "")
	if err != nil {
		return nil, err
	}
	inbox := t.nc.NewInbox()
	sub, err := t.nc.SubscribeSync(inbox)
	if err == nil {
		err = t.nc.PublishRequest(subject, inbox, nil)
	}
	for quiet := wait; err == nil; quiet = 300 * time.Millisecond {
		m, next := sub.NextMsg(quiet)
		if next != nil {
			break // all have answered
		}
		var one T
		err = json.Unmarshal(m.Data, &one)
		all = append(all, one)
	}
	return all, err
}

func (t *tool) services() error {
	all, err := ask[micro.Info](t, micro.InfoVerb, "")
	slices.SortFunc(all, func(a, b micro.Info) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range all {
		fmt.Printf("%s\t%s\t%d endpoints\t%s\n", s.Name, s.Version, len(s.Endpoints), s.Description)
	}
	return err
}

func (t *tool) serviceInfo() error {
	all, err := ask[micro.Info](t, micro.InfoVerb, t.arg(0))
	return errors.Join(err, printJSON(all))
}

func (t *tool) serviceStats() error {
	all, err := ask[micro.Stats](t, micro.StatsVerb, t.arg(0))
	return errors.Join(err, printJSON(all))
}

func (t *tool) ping() error {
	all, err := ask[micro.Ping](t, micro.PingVerb, "")
	for _, s := range all {
		fmt.Printf("%s %s\n", s.Name, s.ID)
	}
	return err
}

func (t *tool) request() error {
	body := ""
	if len(t.args) > 2 {
		body = t.args[2]
	}
	m, err := t.nc.Request(t.args[1], []byte(body), wait)
	if err != nil {
		return err
	}
	if why := m.Header.Get(micro.ErrorHeader); why != "" {
		fmt.Println(micro.ErrorHeader+":", why)
	}
	fmt.Printf("%s\n", m.Data)
	return nil
}

// follow prints messages as they come, --count of them.
func (t *tool) follow() error {
	sub, err := t.nc.SubscribeSync(t.args[1])
	for i := 0; err == nil && (t.count == 0 || i < t.count); i++ {
		var m *nats.Msg
		if m, err = sub.NextMsg(time.Minute); err == nil {
			show(m)
		}
	}
	return err
}

func printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	fmt.Printf("%s\n", text)
	return err
}
