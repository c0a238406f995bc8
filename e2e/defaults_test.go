package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	// helpDefault is a flag with its default in the help of a command.
	helpDefault = regexp.MustCompile(`(?m)^ +(--[a-z-]+)=("[^"]*"|[^ \n]+)`)
	// toldTime is a flag with a time in a text: `--expiry`, 15 min.
	toldTime = regexp.MustCompile("`(--[a-z-]+)`[,;]? \\(?(\\d+) (ms|s|min|h|days)\\b")
	// toldDefault is the row of a flag with its default: | `--expiry` | `15m` |.
	toldDefault = regexp.MustCompile("(?m)^\\| `(--[a-z-]+)` \\| `([^`]*)` \\|")
)

// ACCEPT M8
// What the documents say of how long things take by default is what the
// commands have as their defaults.
func TestDocumentsTellDefaults(t *testing.T) {
	defaults := map[string]string{}
	for _, command := range []string{"serve", "audit", "reconcile"} {
		help, err := exec.Command(binary, command, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range helpDefault.FindAllStringSubmatch(string(help), -1) {
			if _, known := defaults[m[1]]; !known { // those of serve come first
				defaults[m[1]] = strings.Trim(m[2], `"`)
			}
		}
	}
	times := 0
	for _, page := range documents(t) {
		text := read(t, page)
		for _, m := range toldTime.FindAllStringSubmatch(text, -1) {
			times++
			is, err := time.ParseDuration(defaults[m[1]])
			if told := told(t, m[2], m[3]); err != nil || is != told {
				t.Errorf("%s: %s is %s %s, but by default %q", page, m[1], m[2], m[3], defaults[m[1]])
			}
		}
		for _, m := range toldDefault.FindAllStringSubmatch(text, -1) {
			if times++; defaults[m[1]] != m[2] {
				t.Errorf("%s: %s is %q, but by default %q", page, m[1], m[2], defaults[m[1]])
			}
		}
	}
	if times < 20 {
		t.Errorf("only %d defaults are told", times)
	}
}

// told is a time as documents write it.
func told(t *testing.T, n, unit string) time.Duration {
	t.Helper()
	if unit == "days" {
		return 24 * told(t, n, "h")
	}
	d, err := time.ParseDuration(n + strings.TrimSuffix(unit, "in"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}
