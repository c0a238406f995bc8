package e2e

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Limits of the code, tests aside but for maxFile.
const (
	maxColumns  = 100 // of a line, a tab being 4
	maxFile     = 500 // lines
	maxFunction = 70  // lines
	// maxComplexity is the cyclomatic complexity of a function that reads at one
	// go; maxComplex of a hundred may have more.
	maxComplexity = 10
	maxComplex    = 2
)

// texts are files of texts for people, a line each, however long.
var texts = []string{"api/web/messages.go"}

// TestStyle: lines, functions and files stay short, and what is exported has a
// comment.
func TestStyle(t *testing.T) {
	seen, functions := 0, 0
	var complex []string
	if err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s := &style{name: filepath.ToSlash(strings.TrimPrefix(path, "../")), fset: token.NewFileSet()}
		f, err := parser.ParseFile(s.fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		seen++
		s.check(f, text)
		for _, complaint := range s.complaints {
			t.Error(complaint)
		}
		functions, complex = functions+s.functions, append(complex, s.complex...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if 100*len(complex) > maxComplex*functions {
		slices.Sort(complex)
		t.Errorf("%d of %d functions are more complex than %d:\n%s", len(complex), functions,
			maxComplexity, strings.Join(complex, "\n"))
	}
	if seen < 200 {
		t.Errorf("only %d files looked at", seen)
	}
}

// TestStyleComplains: each of the rules of TestStyle can be broken.
func TestStyleComplains(t *testing.T) {
	const head = "// Package x is one.\npackage x\n\n"
	for want, text := range map[string]string{
		"x.go:4: 101 columns":      "// " + strings.Repeat("é", 98) + "\n",
		"x.go:5: 103 columns":      "func x() {\n\t_ = `" + strings.Repeat("a", 93) + "`\n}\n",
		"x.go: 503 lines":          strings.Repeat("\n", 500),
		"x.go:4: x has 71 lines":   "func x() {" + strings.Repeat("\n", 70) + "}\n",
		"x.go:4: X has no comment": "func X() {}\n",
		"x.go:6: Y has no comment": "// X is one.\ntype X struct{}\nfunc (*X) Y() {}\n",
		"x.go:6: B has no comment": "const (\n\ta = 1\n\tB = 2\n)\n",
		"x.go:5: C has no comment": "var (\n\tC, d = 1, 2\n)\n",
		"x.go:4: T has no comment": "type T int\n",
		"":                         "// Some.\nconst (\n\tA = 1\n\tB = 2\n)\n\ntype x int\n\nfunc (x) Y() {}\n",
		"x.go:5: 114 columns":      "type x struct {\n\ta string // " + strings.Repeat("a", 98) + "\n\tb string `" + strings.Repeat("a", 98) + "`\n}\n",
	} {
		s := &style{name: "x.go", fset: token.NewFileSet()}
		f, err := parser.ParseFile(s.fset, "x.go", head+text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s.check(f, []byte(head+text))
		if got := strings.Join(s.complaints, "; "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// style is the check of one file.
type style struct {
	name       string
	fset       *token.FileSet
	complaints []string
	// functions are how many there are, complex those over maxComplexity.
	functions int
	complex   []string
}

func (s *style) complain(at token.Pos, format string, args ...any) {
	s.complaints = append(s.complaints, fmt.Sprintf("%s:%d: ", s.name, s.fset.Position(at).Line)+
		fmt.Sprintf(format, args...))
}

func (s *style) check(f *ast.File, text []byte) {
	if ast.IsGenerated(f) {
		return
	}
	if n := bytes.Count(text, []byte("\n")); n > maxFile {
		s.complaints = append(s.complaints, fmt.Sprintf("%s: %d lines", s.name, n))
	}
	if strings.HasSuffix(s.name, "_test.go") {
		return
	}
	whole := s.tagged(f)
	for i, line := range strings.Split(string(text), "\n") {
		if whole[i+1] || slices.Contains(texts, s.name) {
			continue
		}
		if n := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")); n > maxColumns {
			s.complaints = append(s.complaints, fmt.Sprintf("%s:%d: %d columns", s.name, i+1, n))
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			s.function(d)
		case *ast.GenDecl:
			s.declared(d)
		}
	}
}

// tagged are the lines of fields with a tag, which can't be broken.
func (s *style) tagged(f *ast.File) map[int]bool {
	lines := map[int]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if field, ok := n.(*ast.Field); ok && field.Tag != nil {
			lines[s.fset.Position(field.Tag.Pos()).Line] = true
		}
		return true
	})
	return lines
}

func (s *style) function(d *ast.FuncDecl) {
	if n := s.fset.Position(d.End()).Line - s.fset.Position(d.Pos()).Line + 1; n > maxFunction {
		s.complain(d.Pos(), "%s has %d lines", d.Name.Name, n)
	}
	s.functions++
	if n := complexity(d); n > maxComplexity {
		s.complex = append(s.complex, fmt.Sprintf("%s: %s: %d", s.name, d.Name.Name, n))
	}
	if d.Recv != nil {
		of := d.Recv.List[0].Type
		if p, ok := of.(*ast.StarExpr); ok {
			of = p.X
		}
		if name, ok := of.(*ast.Ident); ok && !name.IsExported() {
			return // nobody outside can name it
		}
	}
	if d.Name.IsExported() && d.Doc == nil {
		s.complain(d.Pos(), "%s has no comment", d.Name.Name)
	}
}

// complexity is one more than the branches of a function: McCabe's cyclomatic
// complexity, with those of && and ||.
func complexity(d *ast.FuncDecl) int {
	n := 1
	ast.Inspect(d, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			n += min(len(node.List), 1) // the default is none
		case *ast.CommClause:
			if node.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// TestComplexity: all kinds of branches count, once each.
func TestComplexity(t *testing.T) {
	for text, want := range map[string]int{
		"":                                 1,
		"if a && b || c { }":               4,
		"for { }; for range 3 { }":         3,
		"switch a { case b, c: default: }": 2,
		"switch { case a: case b && c: }":  4,
		"select { case <-a: default: }":    2,
		"f(func() { if a { } })":           2,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; func x() {"+text+"}", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := complexity(f.Decls[0].(*ast.FuncDecl)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

// declared looks at types, constants and variables. A comment on the whole
// group is one on each.
func (s *style) declared(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			s.named(d, spec.Doc, spec.Comment, spec.Name)
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				s.named(d, spec.Doc, spec.Comment, name)
			}
		}
	}
}

func (s *style) named(d *ast.GenDecl, doc, comment *ast.CommentGroup, name *ast.Ident) {
	if name.IsExported() && d.Doc == nil && doc == nil && comment == nil {
		s.complain(name.Pos(), "%s has no comment", name.Name)
	}
}
