package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ordo/api/origin"
	"ordo/bus"
)

// What a command line may say. kong calls the Validate of the command that was
// chosen; its error is one of usage.

// within refuses a flag's value outside of its limits.
func within[T int | int64 | time.Duration](flag string, value, least, most T) error {
	if value < least || value > most {
		return fmt.Errorf("--%s must be %v to %v, not %v", flag, least, most, value)
	}
	return nil
}

// checkCurrency refuses what is not the form of an ISO 4217 code.
func checkCurrency(code string) error {
	if len(code) != 3 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fmt.Errorf("--currency must be three capital letters, not %q", code)
	}
	return nil
}

// checkAddr refuses what is not host:port; an empty host is any.
func checkAddr(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("--%s must be host:port: %w", flag, err)
	}
	return nil
}

// checkLoopback refuses an address that other machines may reach. It answers
// no error for an empty one.
func checkLoopback(flag, addr string) error {
	if addr == "" {
		return nil
	}
	if err := checkAddr(flag, addr); err != nil {
		return err
	}
	if !origin.IsLoopback(addr) {
		return fmt.Errorf("--%s: %s is not a loopback address", flag, addr)
	}
	return nil
}

// natsServers are the URLs of a list as --nats takes it. They may hold
// passwords: an error does not show them.
func natsServers(list string) (all []*url.URL, err error) {
	for _, text := range strings.Split(list, ",") {
		if text = strings.TrimSpace(text); !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if failed := (*url.Error)(nil); errors.As(err, &failed) {
			err = failed.Err
		}
		if err == nil && u.Hostname() == "" {
			err = errors.New("it names no host")
		}
		if err == nil && !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			err = fmt.Errorf("%q is not a scheme of NATS", u.Scheme)
		}
		if err != nil {
			return nil, fmt.Errorf("--nats must be a URL, or several with commas: %w", err)
		}
		all = append(all, u)
	}
	return all, nil
}

// withoutPasswords is a list of --nats to be shown.
func withoutPasswords(list string) string {
	servers, err := natsServers(list)
	if err != nil {
		return "the servers of --nats"
	}
	var shown []string
	for _, u := range servers {
		shown = append(shown, u.Redacted())
	}
	return strings.Join(shown, ",")
}

// checkOnly refuses names that are not of actors, and a process that would run
// nothing.
func checkOnly(only string, noAPI bool) error {
	names := splitList(only)
	switch {
	case only != "" && len(names) == 0:
		return errors.New("--only names no actor")
	case slices.Equal(names, []string{noActors}) && noAPI:
		return errors.New("--only none and --no-api leave nothing to run")
	case slices.Equal(names, []string{noActors}):
		return nil
	}
	for _, name := range names {
		if !slices.Contains(bus.ActorNames(), name) {
			return fmt.Errorf("--only: there is no actor %q; the actors are %s, or %s alone", name,
				strings.Join(bus.ActorNames(), ", "), noActors)
		}
	}
	return nil
}

// splitList splits at commas and drops what is empty.
func splitList(s string) []string {
	var all []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// negativesLast moves negative numbers behind a --, where they are not taken for
// flags: ordo goods adjust SKU -5 --reason TEXT. One after a flag is its value.
func negativesLast(args []string) []string {
	var before, negative []string
	for i, a := range args {
		if a == "--" {
			return args
		}
		_, err := strconv.ParseInt(a, 10, 64)
		ofFlag := i > 0 && strings.HasPrefix(args[i-1], "--") && !strings.Contains(args[i-1], "=")
		if err == nil && a[0] == '-' && !ofFlag {
			negative = append(negative, a)
		} else {
			before = append(before, a)
		}
	}
	if negative == nil {
		return args
	}
	return append(append(before, "--"), negative...)
}
