package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// ConfigCmd looks at the configuration of serve.
type ConfigCmd struct {
	Print ConfigPrintCmd `cmd:"" help:"Print the configuration that serve would have here, and where each value comes from."`
	Check ConfigCheckCmd `cmd:"" help:"Check a configuration file."`
}

// ConfigPrintCmd prints what serve would run with, given the same flags,
// environment and file. What it prints can be a file of --config, but for secrets,
// which are left out of it. Row P4.
type ConfigPrintCmd struct {
	ServeCmd
	JSON bool `name:"json" help:"Print a list of settings as JSON."`
}

// Where a value may come from.
const (
	sourceFlag        = "flag"
	sourceEnvironment = "environment"
	sourceFile        = "file"
	sourceDefault     = "default"
)

// setting is a flag of serve with its value.
type setting struct {
	Name string `json:"name"`
	// Value is null for a secret that is set.
	Value any `json:"value"`
	// Source is where it comes from, and From which variable or file it is.
	Source string `json:"source"`
	From   string `json:"from,omitempty"`
	Secret bool   `json:"secret,omitempty"`
}

// Run implements the command.
func (c *ConfigPrintCmd) Run(parsed *kong.Context, t *terminal) error {
	sources := sourcesOf(parsed)
	file := ""
	var all []setting
	for _, flags := range parsed.Selected().AllFlags(false) {
		for _, f := range flags {
			switch f.Name {
			case "config":
				file = f.Target.String()
			case "help", "version", "json":
			default:
				all = append(all, settingOf(f, sources[f]))
			}
		}
	}
	for i := range all {
		if all[i].Source == sourceFile {
			all[i].From = file
		}
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(all)
	}
	return printSettings(t.Out, all)
}

// sourcesOf tells of the flags that were given where they come from.
func sourcesOf(parsed *kong.Context) map[*kong.Flag]string {
	sources := map[*kong.Flag]string{}
	for _, p := range parsed.Path {
		switch {
		case p.Flag != nil && p.Resolved:
			sources[p.Flag] = sourceFile
		case p.Flag != nil:
			sources[p.Flag] = sourceFlag
		}
	}
	return sources
}

func settingOf(f *kong.Flag, source string) setting {
	s := setting{Name: f.Name, Value: f.Target.Interface(), Source: source}
	if d, ok := s.Value.(time.Duration); ok {
		s.Value = d.String()
	}
	if source == "" {
		s.Source = sourceDefault
		for _, name := range f.Envs {
			if _, ok := os.LookupEnv(name); ok {
				s.Source, s.From = sourceEnvironment, name
			}
		}
	}
	if text, ok := s.Value.(string); ok && text != "" && isSecret(f, text) {
		s.Value, s.Secret = nil, true
	}
	return s
}

// isSecret tells whether a value must not be shown: it is a key, not the name of
// its file, or a URL with a password.
func isSecret(f *kong.Flag, value string) bool {
	for _, word := range strings.Split(f.Name, "-") {
		if slices.Contains([]string{"token", "secret", "key", "password", "credentials"}, word) &&
			f.PlaceHolder != "FILE" {
			return true
		}
	}
	for _, part := range strings.Split(value, ",") {
		if !strings.Contains(part, "@") {
			continue
		}
		if u, err := url.Parse(part); err != nil || u.User != nil {
			return true
		}
	}
	return false
}

// printSettings prints YAML, each line with where its value comes from.
func printSettings(w io.Writer, all []setting) error {
	var b strings.Builder
	b.WriteString("# What `ordo serve` runs with. Secrets are left out: give them by the " +
		"environment.\n")
	for _, s := range all {
		from := s.Source
		if s.From != "" {
			from += " " + s.From
		}
		if s.Secret {
			fmt.Fprintf(&b, "# %s: (secret)  # %s\n", s.Name, from)
			continue
		}
		line, err := yaml.Marshal(map[string]any{s.Name: s.Value})
		if err != nil {
			return fmt.Errorf("config: %s: %w", s.Name, err)
		}
		fmt.Fprintf(&b, "%s  # %s\n", strings.TrimSuffix(string(line), "\n"), from)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
