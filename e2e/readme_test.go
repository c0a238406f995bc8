package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ordo/api"
)

// commandBlock is a block of commands in a document, with how it is tested: by
// `test` on a demo, by `run` on a machine of its own, each with a text that it
// must print; or not, with the reason.
var commandBlock = regexp.MustCompile("(?:<!-- (test|run|by hand): ?(.*) -->\n)?" +
	"```sh\n((?s:.*?)\n)```\n")

// demoURL and demoNATS are where the documents' demo is.
const (
	demoURL  = "http://127.0.0.1:8080"
	demoNATS = "nats://127.0.0.1:4222"
)

// commandWait is how long the commands of a document may take, which wait for
// what comes a moment later.
const commandWait = 5 * time.Minute

// problemBody is how the body of an answer begins that is not a success.
var problemBody = regexp.MustCompile(`"title":"[^"]*","status":[45]`)

// block is a block of commands and a text that they must print.
type block struct{ prints, commands string }

// blocks are those of a document that are tested in one way.
func blocks(t *testing.T, page, way string) (all []block) {
	t.Helper()
	for _, m := range commandBlock.FindAllStringSubmatch(read(t, page), -1) {
		if m[1] == way {
			all = append(all, block{m[2], m[3]})
		}
	}
	return all
}

// documents are the README and the pages of docs.
func documents(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatal(pages, err)
	}
	return append(pages, "../README.md")
}

// Every command in the documents is run by a test, or says why not.
func TestCommandsAreTested(t *testing.T) {
	ways := map[string]int{}
	for _, page := range documents(t) {
		for _, m := range commandBlock.FindAllStringSubmatch(read(t, page), -1) {
			if ways[m[1]]++; m[1] == "" {
				t.Errorf("%s: nothing tests\n%s", page, m[3])
			}
		}
	}
	if ways["test"] < 18 || ways["run"] < 10 || ways["by hand"] > 10 {
		t.Errorf("blocks by their way: %v", ways)
	}
}

// ACCEPT P1 Y2 Y3 Y9 L1 L3
// The commands of the documents do what they say, on a demo as the README tells
// to start one.
func TestDemoCommands(t *testing.T) {
	for _, page := range []string{"../README.md", "../docs/api.md", "../docs/messages.md"} {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			url, nats, token := demo(t)
			sh := newShell(t, buildTools(t, "nats"), "ADMIN="+token)
			here := strings.NewReplacer(demoURL, url, demoNATS, nats)
			for _, b := range blocks(t, page, "test") {
				out := sh.run(here.Replace(b.commands), b.prints)
				// One block shows a refusal, and says so.
				if problemBody.MatchString(out) && b.prints != "out_of_stock" {
					t.Errorf("refused:\n%s\n%s", b.commands, out)
				}
			}
		})
	}
}

// demo starts `ordo demo` and answers its URL, that of its NATS, and the admin
// token.
func demo(t *testing.T) (url, nats, token string) {
	t.Helper()
	p := start(t, "demo", "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	var line string
	eventually(t, "the demo's banner", func() (ok bool) {
		line, ok = p.log.find("/admin/v1, token ")
		return ok
	})
	url, token, _ = strings.Cut(strings.TrimSpace(line), "/admin/v1, token ")
	t.Cleanup(func() {
		if code := p.stop(); code != 0 {
			t.Errorf("ordo demo: exit code %d", code)
		}
	})
	line, _ = p.log.find("nats://") // it is printed next to it
	return url[strings.Index(url, "http://"):], strings.TrimSpace(line[strings.Index(line, "nats://"):]),
		token
}

// helpFlag is a flag in the help of a command, but for --help.
var helpFlag = regexp.MustCompile(`(?m)^ +--[a-z-]+`)

// The flags of serve in the README are those that there are.
func TestDocumentsAreComplete(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(binary, "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	flags := helpFlag.FindAllString(string(help), -1)
	if len(flags) < 10 {
		t.Errorf("only %d flags: %q", len(flags), flags)
	}
	for _, flag := range flags {
		if !strings.Contains(string(readme), "`"+strings.TrimSpace(flag)+"`") {
			t.Errorf("README.md does not name %s", flag)
		}
	}
}

// named are lists in the code of which every word begins a row of a table in
// a document.
var named = []struct {
	code  string
	word  *regexp.Regexp
	doc   string
	least int
}{
	{"../actors/order/order.go", regexp.MustCompile(`(?m)(?:name:|step\w+ +=) "([a-z]+\.[a-z]+)"`),
		"../docs/architecture.md", 14},
	{"../api/payment.go", regexp.MustCompile(`Incident[A-Z]\w+ += "([a-z_]+)"`),
		"../docs/operations.md", 8},
}

// The steps of an order and the kinds of incidents are all documented.
func TestDocumentsNameAll(t *testing.T) {
	for _, n := range named {
		code, doc := read(t, n.code), read(t, n.doc)
		all := n.word.FindAllStringSubmatch(code, -1)
		if len(all) < n.least {
			t.Errorf("%s: only %d words", n.code, len(all))
		}
		for _, w := range all {
			if !strings.Contains(doc, "\n| `"+w[1]+"` |") {
				t.Errorf("%s has no row for %s", n.doc, w[1])
			}
		}
	}
}

var (
	// quote is a block of code that stands in a file named before it.
	quote = regexp.MustCompile("`(actors/[a-z/]+\\.go)`, and by nothing else:\n\n" +
		"```go\n((?s:.*?))\n```|From `(actors/[a-z/]+\\.go)`:\n\n```go\n((?s:.*?))\n```")
	link    = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	// dropped are the characters that a heading's anchor lacks.
	dropped = regexp.MustCompile(`[^a-z0-9 _-]`)
	// diagram is one that Mermaid draws, and cut a line of it that Mermaid would
	// end too early.
	diagram = regexp.MustCompile("(?ms)^```mermaid\n(.*?)^```$")
	cut     = regexp.MustCompile(`(?m)^.*;.*$`)
)

// What the guide quotes stands in the code, and links between the documents
// lead somewhere.
func TestDocumentsHold(t *testing.T) {
	quotes := quote.FindAllStringSubmatch(read(t, "../docs/adding-a-domain.md"), -1)
	if len(quotes) != 2 {
		t.Errorf("%d quotes", len(quotes))
	}
	for _, q := range quotes {
		code := read(t, "../"+q[1]+q[3])
		for _, part := range strings.Split(q[2]+q[4], "\n\n") {
			if !strings.Contains(words(code), words(part)) {
				t.Errorf("%s has changed:\n%s", q[1]+q[3], part)
			}
		}
	}
	for _, page := range documents(t) {
		for _, d := range diagram.FindAllStringSubmatch(read(t, page), -1) {
			if line := cut.FindString(d[1]); line != "" {
				t.Errorf("%s: Mermaid ends a line at its semicolon: %s", page, line)
			}
		}
		for _, l := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
			to := page
			if l[1] != "" {
				to = filepath.Join(filepath.Dir(page), l[1])
			}
			if text := read(t, to); l[2] != "" && !anchors(text)[l[2]] {
				t.Errorf("%s: there is no %s in %s", page, l[2], to)
			}
		}
	}
}

// anchors are those of a page's headings.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		name := dropped.ReplaceAllString(strings.ToLower(h[1]), "")
		all["#"+strings.ReplaceAll(name, " ", "-")] = true
	}
	return all
}

// words is a text with its white space made alike.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// guideFile is a file in docs/adding-a-domain.md: its path in a heading, and
// its text in the next block.
var guideFile = regexp.MustCompile("(?m)^## .*: `([a-z_/]+\\.(?:go|sql))`\n(?s:.*?)" +
	"\n```[a-z]+\n((?s:.*?)\n)```\n")

// The domain that docs/adding-a-domain.md adds compiles, and its test passes.
func TestGuideWorks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/adding-a-domain.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir, overlay := t.TempDir(), struct{ Replace map[string]string }{map[string]string{}}
	for _, m := range guideFile.FindAllStringSubmatch(string(text), -1) {
		path := filepath.Join(dir, strings.ReplaceAll(m[1], "/", "-"))
		if err := os.WriteFile(path, []byte(m[2]), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, m[1])] = path
	}
	if len(overlay.Replace) != 7 {
		t.Fatalf("%d files: %v", len(overlay.Replace), overlay.Replace)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, api.Raw(overlay), 0o600); err != nil {
		t.Fatal(err)
	}
	// The package has no directory, where go test would run it.
	program := filepath.Join(dir, "review.test")
	for _, args := range [][]string{
		{"go", "build", "-overlay", file, "./api/rest"},
		{"go", "test", "-overlay", file, "-vet=off", "-c", "-o", program, "./actors/review"},
		{program},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
}
