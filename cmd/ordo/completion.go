package main

import (
	"bufio"
	"cmp"
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"ordo/bus"
)

// scripts are those of the shells. They ask CompleteCmd, so that what can be
// completed is known in one place, the model of the command line.
//
//go:embed shell
var scripts embed.FS

// CompletionCmd prints the script of a shell.
type CompletionCmd struct {
	Shell string `arg:"" help:"Which shell." enum:"bash,zsh,fish"`
}

// Run implements the command.
func (c *CompletionCmd) Run(t *terminal) error {
	text, err := scripts.ReadFile("shell/completion." + c.Shell)
	if err == nil {
		_, err = t.Out.Write(text)
	}
	return err
}

// filesWord has the shell offer files. No value of a flag begins like it.
const filesWord = ":files"

// CompleteCmd answers what may stand in the place of the last word, a line each:
// the word, a tab, and what it is.
type CompleteCmd struct {
	Words []string `arg:"" optional:"" help:"What was typed so far, without ordo."`
}

// Run implements the command.
func (c *CompleteCmd) Run(app *kong.Kong, t *terminal) error {
	last := ""
	if n := len(c.Words); n > 0 {
		c.Words, last = c.Words[:n-1], c.Words[n-1]
	}
	at := place{node: app.Model.Node}
	for _, word := range c.Words {
		at.pass(word)
	}
	return at.offer(t.Out, last)
}

// place is where in a command line a word stands.
type place struct {
	node *kong.Node
	// flag has its value next; nil for none.
	flag *kong.Flag
	// values are the arguments that the command has so far, and bare is true
	// after --.
	values int
	bare   bool
}

// pass goes on over a word that is complete.
func (p *place) pass(word string) {
	switch {
	case p.flag != nil && word == "=": // bash makes a word of it
	case p.flag != nil:
		p.flag = nil
	case !p.bare && word == "--":
		p.bare = true
	case !p.bare && strings.HasPrefix(word, "-"):
		p.passFlag(word)
	default:
		p.passArgument(word)
	}
}

func (p *place) passFlag(word string) {
	name, _, whole := strings.Cut(word, "=")
	if f := p.named(name); f != nil && !whole && !f.IsBool() {
		p.flag = f
	}
}

// passArgument goes on over a command or a value.
func (p *place) passArgument(word string) {
	for _, child := range p.node.Children {
		if child.Name == word && p.values == 0 {
			p.node = child
			return
		}
	}
	p.values++
}

// named is the flag that a word names, or nil.
func (p *place) named(word string) *kong.Flag {
	for _, f := range p.flags() {
		if "--"+f.Name == word || f.Short != 0 && "-"+string(f.Short) == word {
			return f
		}
	}
	return nil
}

// flags are those of the command and of all that it is in.
func (p *place) flags() (all []*kong.Flag) {
	for n := p.node; n != nil; n = n.Parent {
		all = append(all, n.Flags...)
	}
	return all
}

// offer prints what the word may become.
func (p *place) offer(w io.Writer, word string) error {
	out := bufio.NewWriter(w)
	name, value, whole := strings.Cut(word, "=")
	switch {
	case p.flag != nil:
		offerValues(out, p.flag.Value, "", strings.TrimPrefix(word, "="))
	case !p.bare && whole && p.named(name) != nil:
		offerValues(out, p.named(name).Value, name+"=", value)
	case !p.bare && strings.HasPrefix(word, "-"):
		p.offerFlags(out, word)
	case len(p.node.Children) > 0 && p.values == 0:
		p.offerCommands(out, word)
	case len(p.node.Positional) > 0:
		n := min(p.values, len(p.node.Positional)-1)
		offerValues(out, p.node.Positional[n], "", word)
	}
	return out.Flush()
}

func (p *place) offerFlags(out *bufio.Writer, word string) {
	for _, f := range p.flags() {
		if !f.Hidden {
			offerWord(out, "--"+f.Name, word, f.Help)
		}
	}
}

func (p *place) offerCommands(out *bufio.Writer, word string) {
	for _, child := range p.node.Children {
		if !child.Hidden {
			offerWord(out, child.Name, word, child.Help)
		}
	}
}

// offerWord prints a word that begins with what was typed.
func offerWord(out *bufio.Writer, word, typed, help string) {
	if strings.HasPrefix(word, typed) {
		fmt.Fprintf(out, "%s\t%s\n", word, help) // out keeps its error
	}
}

// offerValues prints what a flag or an argument may be, behind what of the word
// stands already.
func offerValues(out *bufio.Writer, v *kong.Value, before, typed string) {
	if isFile(v) {
		fmt.Fprintln(out, filesWord)
		return
	}
	values := v.EnumSlice()
	if slices.Contains([]string{"actor", "actors", "only"}, v.Name) {
		values = bus.ActorNames()
	}
	for _, value := range values {
		if value != "" {
			offerWord(out, before+value, before+typed, v.Help)
		}
	}
}

// isFile tells whether a value names a file or a directory.
func isFile(v *kong.Value) bool {
	return slices.Contains([]string{"path", "existingfile", "existingdir"}, v.Tag.Type) ||
		slices.Contains([]string{"FILE", "DIR"}, cmp.Or(v.Tag.PlaceHolder,
			strings.ToUpper(v.Name))) ||
		v.Name == "data"
}
