package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ordo/actors/order"
	"ordo/api"
	"ordo/api/rest"
	"ordo/bus"
)

// draw has the drawn parts of the documents written; `make docs` sets it.
var draw = flag.Bool("draw", false, "write the drawn parts of the documents")

// drawn is a part of a document that is made from the code.
var drawn = regexp.MustCompile(`(?s)<!-- drawn: ([a-z ]+) -->\n(.*?)<!-- end -->\n`)

// drawers make the parts.
var drawers = map[string]func(*testing.T) string{
	"flows": drawFlows, "steps": drawSteps, "streams": drawStreams, "buckets": drawBuckets,
	"operations": drawOperations, "codes": drawCodes, "messages": drawMessages,
	"examples": drawExamples,
}

// What the documents draw from the code's tables is as the code has it.
func TestDocumentsAreDrawn(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, page := range pages {
		was := read(t, page)
		is := drawn.ReplaceAllStringFunc(was, func(part string) string {
			name := drawn.FindStringSubmatch(part)[1]
			if seen[name] = true; drawers[name] == nil {
				t.Errorf("%s: nothing draws %s", page, name)
				return part
			}
			return "<!-- drawn: " + name + " -->\n" + drawers[name](t) + "<!-- end -->\n"
		})
		switch {
		case is == was:
		case *draw:
			if err := os.WriteFile(page, []byte(is), 0o600); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s is not as the code has it: run `make docs`", page)
		}
	}
	if len(seen) != len(drawers) {
		t.Errorf("drawn are only %v", seen)
	}
}

// drawFlows is who sends what to whom, by the rights in nats.conf, which NATS
// enforces and TestConfRightsCoverMessages holds against the code.
func drawFlows(t *testing.T) string {
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart LR\n    api([\"REST API, pages\"])\n")
	for _, actor := range bus.ActorNames() {
		fmt.Fprintf(&b, "    %s[(\"%s<br/>%s\")]\n", actor, actor, bus.MailboxStream(actor))
	}
	rights := confRights(t)
	for _, from := range append([]string{"api"}, bus.ActorNames()...) {
		for _, to := range bus.ActorNames() {
			verbs, arrow := sends(rights[from], from, to), "-->"
			if slices.Contains(rights[to], "ordo."+from+".0."+stepResult) {
				arrow = "<-->" // who is asked answers
			}
			if len(verbs) > 0 {
				fmt.Fprintf(&b, "    %s %s|\"%s\"| %s\n", from, arrow, strings.Join(verbs, "<br/>"), to)
			}
		}
		if slices.Contains(rights[from], "ordo.event."+from+".>") {
			fmt.Fprintf(&b, "    %s -.->|events| journal\n", from)
		}
	}
	b.WriteString("```\n")
	return b.String()
}

// stepResult is the verb of a participant's answer to the order actor.
const stepResult = "step-result"

// sends are the verbs that a user may publish to an actor, but for answers and
// for what every channel has.
func sends(rights []string, from, to string) (verbs []string) {
	for _, subject := range rights {
		verb, ok := strings.CutPrefix(subject, "ordo."+to+".0.")
		if ok && from != to && verb != api.VerbVoid && verb != stepResult {
			verbs = append(verbs, verb)
		}
	}
	return verbs
}

// drawSteps is the table of steps as a graph: phases in their order, and which
// step of a refund takes which one back.
func drawSteps(t *testing.T) string {
	steps := order.Steps()
	var phases []string
	by := map[string][]order.StepSpec{}
	for _, s := range steps {
		if by[s.Phase] == nil {
			phases = append(phases, s.Phase)
		}
		by[s.Phase] = append(by[s.Phase], s)
	}
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart LR\n")
	id := func(name string) string { return strings.NewReplacer(".", "_", " ", "_").Replace(name) }
	for i, phase := range phases {
		fmt.Fprintf(&b, "    subgraph %s[\"%d. %s\"]\n", id(phase), i+1, phase)
		for _, s := range by[phase] {
			label := s.Name
			if s.Undo != (api.Route{}) {
				label += "<br/>undo: " + s.Undo.Verb
			}
			fmt.Fprintf(&b, "        %s[\"%s\"]\n", id(s.Name), label)
		}
		b.WriteString("    end\n")
	}
	for i := range phases[1:] {
		word := "then"
		if phases[i] == "fulfil" {
			word = "refund"
		}
		fmt.Fprintf(&b, "    %s -->|%s| %s\n", id(phases[i]), word, id(phases[i+1]))
	}
	for _, s := range steps {
		if s.After != "" {
			fmt.Fprintf(&b, "    %s -.->|takes back| %s\n", id(s.Name), id(s.After))
		}
	}
	b.WriteString("```\n")
	return b.String()
}

func drawStreams(*testing.T) string {
	var b strings.Builder
	b.WriteString("| stream | subjects | kept | at most | |\n|---|---|---|---|---|\n")
	for _, s := range bus.Streams() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", s.Name,
			strings.Join(s.Subjects, "`, `"), days(s.MaxAge), mebibytes(s.MaxBytes), s.Description)
	}
	return b.String()
}

func drawBuckets(*testing.T) string {
	var b strings.Builder
	b.WriteString("| bucket | kept | at most | |\n|---|---|---|---|\n")
	for _, s := range bus.Buckets() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, days(s.TTL), mebibytes(s.MaxBytes),
			s.Description)
	}
	return b.String()
}

// described is what the OpenAPI document says of an operation.
type described struct {
	Tags     []string
	Summary  string
	Security []map[string][]string
}

// callers says who may call an operation: the roles, or by the scheme.
func (d *described) callers() string {
	var all []string
	for _, s := range d.Security {
		for scheme, roles := range s {
			switch {
			case len(roles) > 0:
				all = append(all, roles...)
			case scheme == "session":
				all = append(all, "user")
			default:
				all = append(all, scheme)
			}
		}
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, ", "), "anybody")
}

// drawOperations is every operation of a running shop's OpenAPI document.
func drawOperations(t *testing.T) string {
	p := serve(t, t.TempDir())
	var doc struct {
		Paths map[string]map[string]described
	}
	p.as("").must("GET", "/openapi.json", nil, &doc)
	type row struct{ tag, path, method, text string }
	var rows []row
	for path, operations := range doc.Paths {
		for method, o := range operations {
			rows = append(rows, row{o.Tags[0], path, method, fmt.Sprintf("| `%s %s` | %s | %s |\n",
				strings.ToUpper(method), path, o.callers(), o.Summary)})
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.path, b.path),
			cmp.Compare(a.method, b.method))
	})
	var b strings.Builder
	b.WriteString("| operation | for | |\n|---|---|---|\n")
	for _, r := range rows {
		b.WriteString(r.text)
	}
	return b.String()
}

// drawCodes is every code of a refusal with its status, and what the code says
// of it.
func drawCodes(t *testing.T) string {
	files, err := filepath.Glob("../api/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
				rows = append(rows, codesOf(d)...)
			}
			return true
		})
	}
	slices.Sort(rows)
	return "| code | status | |\n|---|---|---|\n" + strings.Join(rows, "")
}

// codesOf are the rows of the codes that a declaration declares. Its comments
// are those of the one constant, or of each.
func codesOf(d *ast.GenDecl) (rows []string) {
	for _, s := range d.Specs {
		v := s.(*ast.ValueSpec)
		name := v.Names[0].Name
		if !strings.HasPrefix(name, "Code") || len(v.Values) != 1 {
			continue
		}
		value, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil || !rest.HasStatus(api.Code(value)) {
			continue
		}
		doc := v.Doc.Text()
		if len(d.Specs) == 1 {
			doc = cmp.Or(doc, d.Doc.Text())
		}
		text := strings.TrimSpace(strings.TrimPrefix(words(doc), name+":"))
		status := rest.Status(api.Code(value))
		rows = append(rows, fmt.Sprintf("| `%s` | %d %s | %s |\n", value, status,
			http.StatusText(status), text))
	}
	return rows
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
