package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"ordo/bus"
	"ordo/bus/failpoint"
)

// envPrefix begins the name of the variable of every flag.
const envPrefix = "ORDO"

// fileConfig resolves flags from a YAML file: a flat map whose keys are the
// long names of flags, of any command, so that one file serves all of them.
type fileConfig map[string]any

// loadYAML reads a configuration file. An empty one is fine.
func loadYAML(r io.Reader) (kong.Resolver, error) {
	f := fileConfig{}
	if err := yaml.NewDecoder(r).Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	return f, nil
}

// Validate implements kong.Resolver: a key that no command has as a flag is an
// error that names it.
func (f fileConfig) Validate(app *kong.Application) error {
	known := map[string]bool{}
	collectFlags(app.Node, known)
	var unknown []string
	for key := range f {
		if !known[flagName(key)] {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("configuration file: unknown key %s", strings.Join(unknown, ", "))
	}
	return nil
}

// Resolve implements kong.Resolver. The environment goes before the file.
func (f fileConfig) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return nil, nil
		}
	}
	for key, value := range f {
		if flagName(key) == flag.Name {
			return value, nil
		}
	}
	return nil, nil
}

// checkEnvironment refuses variables ORDO_… that belong to no flag of any
// command, as the file's unknown keys are refused. nats.conf has a few of its
// own: the users' passwords.
func checkEnvironment(app *kong.Application, environ []string) error {
	known := map[string]bool{failpoint.Variable: true}
	collectEnvironment(app.Node, known)
	for _, user := range append([]string{"sys", "setup", "operator", "api"}, bus.ActorNames()...) {
		known["ORDO_NATS_"+strings.ToUpper(user)] = true
	}
	var unknown []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("environment: unknown variable %s", strings.Join(unknown, ", "))
	}
	return nil
}

// collectEnvironment notes the variables of all flags.
func collectEnvironment(node *kong.Node, known map[string]bool) {
	for _, flag := range node.Flags {
		for _, name := range flag.Envs {
			known[name] = true
		}
	}
	for _, child := range node.Children {
		collectEnvironment(child, known)
	}
}

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// collectFlags notes all flags but those that make no sense in a file.
func collectFlags(node *kong.Node, known map[string]bool) {
	for _, flag := range node.Flags {
		if flag.Name != "help" && flag.Name != "config" && flag.Name != "version" {
			known[flag.Name] = true
		}
	}
	for _, child := range node.Children {
		collectFlags(child, known)
	}
}
