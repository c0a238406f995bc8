package e2e

import (
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

// ACCEPT P1
// The commands of the README do what it says, on a demo as it tells to start
// one.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := readmeBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 8 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	const next = "=== next block"
	script := ""
	for _, b := range blocks {
		script += b[2] + "echo; echo '" + next + "'\n"
	}
	url, token := demo(t)
	dir := t.TempDir()
	cmd := exec.Command("sh", "-e", "-c", strings.ReplaceAll(script, readmeURL, url))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ADMIN="+token, "PATH="+buildCurl(t)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sh: %v\n%s", err, out)
	}
	printed := strings.Split(string(out), next)
	for i, b := range blocks {
		if !strings.Contains(printed[i], b[1]) {
			t.Errorf("not printed: %s\n%s\nbut:\n%s", b[1], b[2], printed[i])
		}
		// One block shows a refusal, and says so.
		if strings.Contains(printed[i], `"title":`) && b[1] != "out_of_stock" {
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
