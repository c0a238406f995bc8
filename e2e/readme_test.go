package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// readmeBlock is a block of commands of the README that is marked to be
// tested, and a text that they must print.
var readmeBlock = regexp.MustCompile("<!-- test: (.+) -->\n```sh\n((?s:.*?)\n)```\n")

// readmeURL is where the README's shop is.
const readmeURL = "http://127.0.0.1:8080"

// readmeWait is how long the README's commands may take, which wait for what
// comes a moment later.
const readmeWait = 3 * time.Minute

// problemBody is how the body of an answer begins that is not a success.
var problemBody = regexp.MustCompile(`"title":"[^"]*","status":[45]`)

// ACCEPT P1 Y2 Y3 Y9 L1 L3
// The commands of the README do what it says, on a demo as it tells to start
// one.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := readmeBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 18 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	const next = "=== next block"
	script := ""
	for _, b := range blocks {
		script += b[2] + "echo; echo '" + next + "'\n"
	}
	url, token := demo(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), readmeWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", strings.ReplaceAll(script, readmeURL, url))
	cmd.WaitDelay = time.Second // of what it has started
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ADMIN="+token, "PATH="+buildCurl(t)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sh: %v\n%s", err, out)
	}
	printed := strings.Split(string(out), next)
	if len(printed) <= len(blocks) {
		t.Fatalf("the commands stopped:\n%s", out)
	}
	for i, b := range blocks {
		if !strings.Contains(printed[i], b[1]) {
			t.Errorf("not printed: %s\n%s\nbut:\n%s", b[1], b[2], printed[i])
		}
		// One block shows a refusal, and says so.
		if problemBody.MatchString(printed[i]) && b[1] != "out_of_stock" {
			t.Errorf("refused:\n%s\n%s", b[2], printed[i])
		}
	}
}

// demo starts `ordo demo` and answers its URL and admin token.
func demo(t *testing.T) (url, token string) {
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
	return url[strings.Index(url, "http://"):], token
}

// buildCurl builds the stand-in for curl and answers its directory.
func buildCurl(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "curl"), "./testdata/curl")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// helpFlag is a flag in the help of a command, but for --help.
var helpFlag = regexp.MustCompile(`(?m)^ +--[a-z-]+`)

// The flags of serve in the README are those that there are, and so are the
// streams, buckets and limits of time in docs/architecture.md.
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
	doc, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	want := func(row ...string) {
		t.Helper()
		if line := "| " + strings.Join(row, " | ") + " |\n"; !strings.Contains(string(doc), line) {
			t.Errorf("docs/architecture.md lacks the row\n%s", line)
		}
	}
	for _, s := range bus.Streams() {
		want("`"+s.Name+"`", "`"+strings.Join(s.Subjects, "`, `")+"`", days(s.MaxAge),
			mebibytes(s.MaxBytes), s.Description)
	}
	for _, b := range bus.Buckets() {
		want("`"+b.Name+"`", days(b.TTL), mebibytes(b.MaxBytes), b.Description)
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
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatal(pages, err)
	}
	for _, page := range append(pages, "../README.md") {
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

func days(d time.Duration) string {
	switch {
	case d == 0:
		return "for good"
	case d < 24*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

func mebibytes(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }

// guideFile is a file in docs/adding-a-domain.md: its path in a heading, and
// its text in the next block.
var guideFile = regexp.MustCompile("(?m)^## .*: `([a-z_/]+\\.(?:go|sql))`\n(?s:.*?)" +
	"\n```[a-z]+\n((?s:.*?)\n)```\n")

// The domain that docs/adding-a-domain.md adds compiles, and its test passes.
func TestGuideWorks(t *testing.T) {
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
