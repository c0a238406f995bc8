package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"ordo/actors"
	"ordo/actors/coupon"
	"ordo/actors/goods"
	"ordo/actors/journal"
	"ordo/actors/learning"
	"ordo/actors/order"
	"ordo/actors/payment"
	"ordo/actors/shipping"
	"ordo/actors/user"
	"ordo/actors/wallet"
	"ordo/api"
	"ordo/api/schema"
	"ordo/bus"
	"ordo/stores"
)

// specs are all domains.
func specs() []*actors.Spec {
	return []*actors.Spec{coupon.Spec(), goods.Spec(), journal.Spec(), learning.Spec(), order.Spec(),
		payment.Spec(), shipping.Spec(), user.Spec(), wallet.Spec()}
}

// schemasFile is what is served, and drawn from the contract's types; examplesFile
// is what a shop has sent.
const (
	schemasFile  = "../api/schema/schemas.json"
	examplesFile = "../api/schema/examples.json"
)

// The schemas that are served are those of the contract's types.
func TestSchemasAreDrawn(t *testing.T) {
	is := indented(t, drawBook(t))
	if read(t, schemasFile) == string(is) {
		return
	}
	if !*draw {
		t.Fatal(schemasFile + " is not as the code has it: run `make docs`")
	}
	if err := os.WriteFile(schemasFile, is, 0o600); err != nil {
		t.Fatal(err)
	}
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// moment is how an api.Time stands in JSON.
type moment struct{}

// Schema implements huma.SchemaProvider.
func (moment) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true,
		Description: "RFC 3339; null for never."}
}

// drawing collects the book of schemas.
type drawing struct {
	registry huma.Registry
	book     schema.Book
	docs     map[string]*ast.TypeSpec
	comments map[string]string
}

func drawBook(t *testing.T) schema.Book {
	d := &drawing{registry: huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer),
		book: schema.Book{Defs: map[string]json.RawMessage{}}}
	d.registry.RegisterTypeAlias(reflect.TypeFor[api.Time](), reflect.TypeFor[moment]())
	d.readComments(t)
	for _, spec := range specs() {
		d.actor(spec)
	}
	for _, e := range api.EventTypes() {
		domain, past, _ := strings.Cut(e.Type, ".")
		d.add(schema.Subject{Subject: bus.EventSubject(domain+"."+past, "*"), Actor: "journal",
			Kind: "event", Description: e.Description, Type: d.name(reflect.TypeFor[api.Event]()),
			Inner: d.name(reflect.TypeOf(e.Data))})
	}
	for _, e := range api.EffectTypes() {
		d.add(schema.Subject{Subject: bus.EffectSubject(e.Actor, e.Name), Actor: e.Actor, Kind: "effect",
			Description: e.Description, Type: d.name(reflect.TypeFor[api.Effect]()),
			Inner: d.name(reflect.TypeOf(e.Work)), Reply: d.name(reflect.TypeOf(e.Outcome))})
	}
	for _, b := range bus.Buckets() {
		d.bucket(t, b)
	}
	for i := range d.book.Subjects {
		d.book.Subjects[i].From = sendersOf(t, &d.book.Subjects[i])
	}
	slices.SortFunc(d.book.Subjects, func(a, b schema.Subject) int {
		return strings.Compare(a.Subject, b.Subject)
	})
	for name, s := range d.registry.Map() {
		d.book.Defs[name] = d.explained(t, name, s)
	}
	return d.book
}

// entries are what stands in the buckets, with the words of a key.
var entries = map[string]struct {
	of  reflect.Type
	key string
}{
	bus.BucketSession:   {reflect.TypeFor[stores.Session](), "*"},
	bus.BucketCart:      {reflect.TypeFor[stores.KeptCart](), "*"},
	bus.BucketGuestCart: {reflect.TypeFor[stores.KeptCart](), "*"},
	bus.BucketCheckout:  {reflect.TypeFor[stores.Checkout](), "*.*"},
	bus.BucketOwner:     {reflect.TypeFor[actors.LeaseEntry](), "*.*"},
}

func (d *drawing) bucket(t *testing.T, b bus.BucketSpec) {
	e, ok := entries[b.Name]
	if !ok {
		t.Fatalf("nobody knows what is in the bucket %s", b.Name)
	}
	d.add(schema.Subject{Subject: "$KV." + b.Name + "." + e.key, Kind: "bucket",
		Description: b.Description, Type: d.name(e.of)})
}

// sendersOf are the users of nats.conf that may publish on a subject.
func sendersOf(t *testing.T, s *schema.Subject) (all []string) {
	if s.Kind == "query" || s.Kind == "timer" || s.Kind == "bucket" {
		return nil
	}
	for user, rights := range confRights(t) {
		if mayPublish(rights, s.Subject) {
			all = append(all, user)
		}
	}
	if len(all) > 1 {
		all = slices.DeleteFunc(all, func(user string) bool { return user == s.Actor })
	}
	slices.Sort(all)
	return all
}

func (d *drawing) add(s schema.Subject) { d.book.Subjects = append(d.book.Subjects, s) }

// name is the type's in the book; empty for none.
func (d *drawing) name(of reflect.Type) string {
	if of == nil || of == reflect.TypeFor[struct{}]() {
		return ""
	}
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	return strings.TrimPrefix(d.registry.Schema(of, true, "").Ref, "#/$defs/")
}

// actor adds what one actor handles, answers and publishes.
func (d *drawing) actor(spec *actors.Spec) {
	for _, c := range spec.Commands {
		name := d.name(c.Message)
		d.add(schema.Subject{Subject: bus.MailboxSubject(spec.Name, c.Verb), Actor: spec.Name,
			Kind: "command", Description: d.comments[c.Message.Name()], Type: name})
	}
	for verb, body := range map[string]reflect.Type{api.VerbTick: nil, api.VerbVoid: nil,
		api.VerbOutcome:   reflect.TypeFor[api.Outcome](),
		api.VerbRetryDead: reflect.TypeFor[api.LetterRef](), api.VerbDismissDead: reflect.TypeFor[api.LetterRef]()} {
		d.add(schema.Subject{Subject: bus.MailboxSubject(spec.Name, verb), Actor: spec.Name,
			Kind: "command", Description: everyActors[verb], Type: d.name(body)})
	}
	for _, q := range spec.Endpoints() {
		d.add(schema.Subject{Subject: bus.QuerySubject(spec.Name, q.Name), Actor: spec.Name,
			Kind: "query", Description: q.Description, Type: d.name(q.Query), Reply: d.name(q.Reply)})
	}
	d.add(schema.Subject{Subject: bus.DeadSubject(spec.Name), Actor: spec.Name, Kind: "dead-letter",
		Description: "A message could not be handled.", Type: d.name(reflect.TypeFor[api.Letter]())})
	d.add(schema.Subject{Subject: bus.TimerSubject(spec.Name, "*"), Actor: spec.Name, Kind: "timer",
		Description: "A message to come back; the header " + bus.HeaderTo + " names its subject."})
}

// everyActors are the verbs that the runtime gives to every actor.
var everyActors = map[string]string{
	api.VerbTick:        "Has the actor sweep its deadlines.",
	api.VerbVoid:        "Carries a number on a channel and nothing else.",
	api.VerbOutcome:     "A worker's report on one try of an effect.",
	api.VerbRetryDead:   "Has a dead letter handled again.",
	api.VerbDismissDead: "Settles a dead letter without handling it.",
}

// readComments reads the comments of the contract's types.
func (d *drawing) readComments(t *testing.T) {
	d.docs, d.comments = map[string]*ast.TypeSpec{}, map[string]string{}
	files, err := filepath.Glob("../api/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../stores/session.go", "../stores/cart.go", "../stores/checkout.go",
		"../actors/lease.go")
	for _, f := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, s := range g.Specs {
				ts := s.(*ast.TypeSpec)
				d.docs[ts.Name.Name] = ts
				d.comments[ts.Name.Name] = words(g.Doc.Text() + ts.Doc.Text())
			}
		}
	}
}

// explained is a type's schema with the comments of the code.
func (d *drawing) explained(t *testing.T, name string, s *huma.Schema) json.RawMessage {
	var all map[string]any
	if err := json.Unmarshal(api.Raw(s), &all); err != nil {
		t.Fatal(err)
	}
	if text := d.comments[name]; text != "" {
		all["description"] = text
	}
	properties, _ := all["properties"].(map[string]any)
	for field, text := range d.fields(name) {
		if p, ok := properties[field].(map[string]any); ok && p["description"] == nil {
			p["description"] = text
		}
	}
	return api.Raw(all)
}

// fields are the comments of a type's fields by their names in JSON.
func (d *drawing) fields(name string) map[string]string {
	texts := map[string]string{}
	if d.docs[name] == nil {
		return texts
	}
	st, ok := d.docs[name].Type.(*ast.StructType)
	if !ok {
		return texts
	}
	for _, f := range st.Fields.List {
		if f.Tag == nil || f.Doc == nil {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
		field, _, _ := strings.Cut(tag, ",")
		texts[field] = words(f.Doc.Text())
	}
	return texts
}

// drawMessages is the table of all subjects.
func drawMessages(*testing.T) string {
	var b strings.Builder
	b.WriteString("| subject | kind | from | body | answer | |\n|---|---|---|---|---|---|\n")
	code := func(name string) string {
		if name == "" {
			return ""
		}
		return "`" + name + "`"
	}
	for _, s := range schema.All() {
		body := code(s.Type)
		if s.Inner != "" {
			body += " of " + code(s.Inner)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", s.Subject, s.Kind,
			strings.Join(s.From, ", "), body, code(s.Reply), s.Description)
	}
	return b.String()
}

// shownExamples are the examples that the documents show: an order until its
// payment begins.
var shownExamples = []string{"$KV.cart.*", "ordo.order.0.submit", "ordo.goods.0.reserve",
	"ordo.order.0.step-result", "ordo.event.order.placed.*", "ordo.effect.payment.pay-open"}

func drawExamples(t *testing.T) string {
	var b strings.Builder
	all := schema.Examples()
	for _, subject := range shownExamples {
		fmt.Fprintf(&b, "`%s`\n\n```json\n%s```\n\n", subject, indented(t, all[subject].Body))
	}
	return b.String()
}
