package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"ordo/bus"
	"ordo/stores"
)

// NATSContextCmd writes a context of the nats CLI, as its `nats context add`
// does: a file that says where a shop's NATS is and who asks. Row P5.
type NATSContextCmd struct {
	Name   string `help:"Name of the context." default:"ordo"`
	Data   string `help:"Data directory of a running shop, whose NATS it is." default:"ordo-data" type:"path"`
	NATS   string `name:"nats" help:"Or its URL, with user and password." placeholder:"URL"`
	Inbox  string `name:"inbox-prefix" help:"Where its answers come to; without it _INBOX.USER, which is what nats.conf grants." placeholder:"SUBJECT"`
	Force  bool   `help:"Replace a context of that name."`
	Select bool   `help:"Have the nats CLI use it when none is named."`
	JSON   bool   `name:"json" help:"Print what was written as JSON, without secrets."`
}

// Validate refuses what the nats CLI would.
func (c *NATSContextCmd) Validate() error {
	if c.Name == "" || strings.Contains(c.Name, "..") || strings.ContainsAny(c.Name, `/\`) {
		return fmt.Errorf("--name: %q can't be the name of a context", c.Name)
	}
	if c.NATS == "" {
		return nil
	}
	_, err := natsServers(c.NATS)
	return err
}

// natsContext is the form of the file, ADR-21 of NATS. What is left out has the
// CLI's default.
type natsContext struct {
	Description string `json:"description"`
	URL         string `json:"url"`
	User        string `json:"user,omitempty"`
	Password    string `json:"password,omitempty"`
	Token       string `json:"token,omitempty"`
	InboxPrefix string `json:"inbox_prefix,omitempty"`
}

// Run implements the command.
func (c *NATSContextCmd) Run(t *terminal) error {
	found, err := c.find()
	if err != nil {
		return fmt.Errorf("nats-context: %w", err)
	}
	found.InboxPrefix = cmp.Or(c.Inbox, bus.InboxPrefix(c.NATS))
	root, err := natsConfig()
	if err != nil {
		return fmt.Errorf("nats-context: %w", err)
	}
	file := filepath.Join(root, "context", c.Name+".json")
	if err := c.write(root, file, found); err != nil {
		return fmt.Errorf("nats-context: %w", err)
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(struct {
			Name     string `json:"name"`
			File     string `json:"file"`
			URL      string `json:"url"`
			User     string `json:"user,omitempty"`
			Selected bool   `json:"selected"`
		}{c.Name, file, found.URL, found.User, c.Select})
	}
	how := " --context " + c.Name
	if c.Select {
		how = ""
	}
	_, err = fmt.Fprintf(t.Out, "%s\ntry: nats%s stream ls\n", file, how)
	return err
}

// find is where the NATS is and who asks.
func (c *NATSContextCmd) find() (*natsContext, error) {
	if c.NATS != "" {
		return contextOf(c.NATS)
	}
	path := filepath.Join(c.Data, "lock")
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w; --nats says where a NATS is", err)
	}
	lock, err := stores.Lock(path)
	if err == nil {
		return nil,
			errors.Join(fmt.Errorf("%w: the shop of %s does not run; start it, or give --nats",
				errUnreadable, c.Data), lock.Close())
	}
	if !errors.Is(err, stores.ErrLocked) {
		return nil, err
	}
	told, err := toldURL(path)
	if err != nil {
		return nil, err
	}
	return contextOf(told)
}

// contextOf takes user and password out of the URLs: the file has places of
// their own for them.
func contextOf(list string) (*natsContext, error) {
	servers, err := natsServers(list)
	if err != nil {
		return nil, err
	}
	who := servers[0].User
	shown := make([]string, len(servers))
	for i, u := range servers {
		if u.User.String() != who.String() {
			return nil, errors.New("the URLs of --nats name different users; a context has one")
		}
		shown[i] = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	}
	x := &natsContext{Description: "An ordo shop", URL: strings.Join(shown, ",")}
	if password, ok := who.Password(); ok {
		x.User, x.Password = who.Username(), password
	} else {
		x.Token = who.Username()
	}
	return x, nil
}

// natsConfig is where the nats CLI keeps its contexts.
func natsConfig() (string, error) {
	if xdg := os.Getenv("XDG_CONFIG_HOME"); xdg != "" {
		return filepath.Join(xdg, "nats"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".config", "nats"), err
}

// write writes the context, which may hold a password, and selects it.
func (c *NATSContextCmd) write(root, file string, x *natsContext) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	text, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	if _, err := os.Lstat(file); err == nil && !c.Force {
		return fmt.Errorf("%s exists; --force replaces it", file)
	}
	if err := replaceFile(file, append(text, '\n')); err != nil || !c.Select {
		return err
	}
	selected := filepath.Join(root, "context.txt")
	was, err := os.ReadFile(selected)
	if err == nil && strings.TrimSpace(string(was)) != c.Name {
		err = replaceFile(filepath.Join(root, "previous-context.txt"), was)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replaceFile(selected, []byte(c.Name))
}

// replaceFile writes a file that is its owner's alone, whole or not at all.
func replaceFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // 0600
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
