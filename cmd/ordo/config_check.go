package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// ConfigCheckCmd checks a configuration file as serve would take it, without
// anything of this environment. It exits with 1 when something is wrong.
type ConfigCheckCmd struct {
	File string `arg:"" help:"YAML file with flags as keys." placeholder:"FILE"`
	JSON bool   `name:"json" help:"Print what is wrong as JSON."`
}

// badSetting is what is wrong in a file of settings.
type badSetting struct {
	// Line is 0 when it is about several.
	Line    int    `json:"line,omitempty"`
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
}

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// Run implements the command.
func (c *ConfigCheckCmd) Run(app *kong.Kong, t *terminal) error {
	f, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("%w: %s is longer than %d bytes", errUnreadable, c.File, maxConfig)
	}
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	bad, secrets := checkSettings(app.Model, text)
	if len(bad) == 0 {
		bad = checkServe(c.File)
	}
	if info, err := f.Stat(); err == nil && secrets && info.Mode().Perm()&0o077 != 0 {
		bad = append(bad, badSetting{Problem: fmt.Sprintf(
			"it holds secrets, and others may read it: %04o; chmod 600", info.Mode().Perm())})
	}
	if err := c.print(t.Out, bad); err != nil {
		return err
	}
	if len(bad) > 0 {
		return errFound
	}
	return nil
}

func (c *ConfigCheckCmd) print(w io.Writer, bad []badSetting) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(struct {
			OK       bool         `json:"ok"`
			Problems []badSetting `json:"problems"`
		}{len(bad) == 0, slices.Concat([]badSetting{}, bad)})
	}
	var errs []error
	for _, b := range bad {
		place := c.File
		if b.Line > 0 {
			place = fmt.Sprintf("%s:%d", place, b.Line)
		}
		if b.Key != "" {
			place += ": " + b.Key
		}
		_, err := fmt.Fprintf(w, "%s: %s\n", place, b.Problem)
		errs = append(errs, err)
	}
	if len(bad) == 0 {
		_, err := fmt.Fprintf(w, "%s: all settings are good\n", c.File)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkSettings checks each key and each value by itself, and tells whether one
// of them is a secret.
func checkSettings(app *kong.Application, text []byte) (bad []badSetting, secrets bool) {
	var doc yaml.Node
	err := yaml.Unmarshal(text, &doc)
	if err == nil {
		// As a map it must be read as well: twice the same key is wrong.
		err = yaml.Unmarshal(text, &fileConfig{})
	}
	switch {
	case err != nil:
		return unreadYAML(err), false
	case len(doc.Content) == 0:
		return nil, false
	}
	pairs := doc.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		key := pairs[i]
		flags := settable(app.Node, flagName(key.Value))
		if len(flags) == 0 {
			bad = append(bad, badSetting{key.Line, key.Value, "no command has a flag of that name"})
			continue
		}
		var value any
		if err := pairs[i+1].Decode(&value); err != nil {
			bad = append(bad, badSetting{key.Line, key.Value, err.Error()})
			continue
		}
		secrets = secrets || isSecret(flags[0], fmt.Sprint(value))
		if err := takesValue(flags, value); err != nil {
			bad = append(bad, badSetting{key.Line, key.Value, err.Error()})
		}
	}
	return bad, secrets
}

// unreadYAML is what is wrong with a text that is no map of settings.
func unreadYAML(err error) (bad []badSetting) {
	said := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if several := (*yaml.TypeError)(nil); errors.As(err, &several) {
		said = several.Errors
	}
	for _, text := range said {
		b := badSetting{Problem: text}
		if n, _ := fmt.Sscanf(text, "line %d:", &b.Line); n == 1 {
			_, b.Problem, _ = strings.Cut(text, ": ")
		}
		bad = append(bad, b)
	}
	return bad
}

// settable are the flags of a name, of all commands, that a file may set.
func settable(node *kong.Node, name string) (all []*kong.Flag) {
	known := map[string]bool{}
	collectFlags(node, known)
	if !known[name] {
		return nil
	}
	for _, f := range node.Flags {
		if f.Name == name {
			all = append(all, f)
		}
	}
	for _, child := range node.Children {
		all = append(all, settable(child, name)...)
	}
	return all
}

// takesValue tells why a value is for none of the flags of a name. Commands may
// have different ones.
func takesValue(flags []*kong.Flag, value any) (err error) {
	for i := len(flags) - 1; i >= 0; i-- { // the first one's error is told
		f := flags[i]
		target := reflect.New(f.Target.Type()).Elem()
		scan := kong.Scan().PushTyped(value, kong.FlagValueToken)
		switch bad := f.Mapper.Decode(&kong.DecodeContext{Value: f.Value, Scan: scan}, target); {
		case bad != nil:
			err = fmt.Errorf("it must be %s, not %v", kindOf(f.Target), value)
		case f.Enum != "" && !f.EnumMap()[fmt.Sprint(target)]:
			err = fmt.Errorf("it must be one of %s, not %v", strings.Join(f.EnumSlice(), ", "),
				value)
		default:
			return nil
		}
	}
	return err
}

// kindOf says what the value of a flag is.
func kindOf(v reflect.Value) string {
	switch v.Interface().(type) {
	case string:
		return "text, in quotes if it looks like a number"
	case time.Duration:
		return "a duration, such as 15m"
	case bool, *bool:
		return "true or false"
	case int, int64, uint64:
		return "a whole number"
	case float64:
		return "a number"
	case time.Time:
		return "a time, such as 2026-01-31T12:00:00Z"
	}
	return "a list"
}

// checkServe has serve say what contradicts itself.
func checkServe(file string) (bad []badSetting) {
	var said bytes.Buffer
	parser, err := kong.New(&cli{}, kong.Name("ordo"), kong.Configuration(loadYAML),
		kong.Writers(&said, &said), kong.Exit(func(int) {}))
	if err == nil {
		_, err = parser.Parse([]string{"--config", file, "serve"})
	}
	if err == nil {
		return nil
	}
	for text := range strings.Lines(err.Error()) {
		text = strings.TrimPrefix(strings.TrimSpace(text), "serve: ")
		bad = append(bad, badSetting{Problem: strings.ReplaceAll(text, "--", "")})
	}
	return bad
}
