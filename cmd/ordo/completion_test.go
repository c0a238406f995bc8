package main

import (
	"slices"
	"strings"
	"testing"
)

// What a shell is offered follows from the words before: commands, flags of the
// command and of all that it is in, values, and files where a file is wanted.
func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"de":                       "demo dead",
		"dead ":                    "ls show retry dismiss",
		"dead l":                   "ls",
		"nothing ":                 "",
		"dead ls --st":             "--state",
		"dead ls --state ":         "open retried dismissed all",
		"dead ls --state o":        "open",
		"dead ls --state=o":        "--state=open",
		"dead ls --state =":        "open retried dismissed all", // as bash splits it
		"dead ls --state = o":      "open",
		"dead ls --state open --j": "--json",
		"dead ls --json --lim":     "--limit",
		"--log-level ":             "debug info warn error",
		"--log-level warn dead l":  "ls",
		"dead ls --log-f":          "--log-format",
		"dead show c":              "coupon",
		"dead show coupon ":        "",
		"verify goods or":          "order",
		"serve --only wal":         "wallet",
		"audit --data ":            filesWord,
		"audit --data=x":           filesWord,
		"backup ":                  filesWord,
		"serve --tls-cert ":        filesWord,
		"serve --no-api --dr":      "--drain",
		"completion z":             "zsh",
		"__":                       "",
		"dead show -- --":          "", // an argument, not a flag
	} {
		args := append([]string{"__complete", "--"}, strings.Split(line, " ")...)
		var got []string
		for l := range strings.Lines(ordo(t, exitOK, args...)) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
			got = append(got, word)
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// A script asks the command that it is found by, and is of the shell asked for.
func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{"bash": "complete -F _ordo ordo",
		"zsh": "#compdef ordo\n", "fish": "complete -c ordo -f"} {
		text := ordo(t, exitOK, "completion", shell)
		if !strings.Contains(text, want) || !strings.Contains(text, " __complete -- ") {
			t.Errorf("%s: %s", shell, text)
		}
	}
	ordo(t, exitUsage, "completion", "tcsh")
}
