package user_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/user"
	"ordo/api"
)

const (
	hash1 = "$argon2id$v=19$m=65536,t=1,p=4$c2FsdA$aGFzaA"
	hash2 = "$argon2id$v=19$m=65536,t=1,p=4$c2FsdA$b3RoZXI"
)

// shop is a user actor with a counter for message ids.
type shop struct {
	*actorstest.Actor
	n int
}

func open(t *testing.T) *shop {
	return &shop{Actor: actorstest.New(t, user.Spec())}
}

// tell sends a message under a fresh id.
func (s *shop) tell(m api.Message) api.Result {
	s.T.Helper()
	s.n++
	return s.Edge(fmt.Sprintf("m-%d", s.n), m)
}

// must is tell for what must be done; the outcome goes into value.
func (s *shop) must(m api.Message, value any) {
	s.T.Helper()
	r := s.tell(m)
	if r.Refusal != nil {
		s.T.Fatalf("%+v was refused: %v", m, r.Refusal)
	}
	if value == nil {
		return
	}
	if err := json.Unmarshal(r.Value, value); err != nil {
		s.T.Fatalf("outcome of %T: %v", m, err)
	}
}

// refused is tell for what must be refused.
func (s *shop) refused(m api.Message, code api.Code, place string) {
	s.T.Helper()
	r := s.tell(m)
	if r.Refusal == nil || r.Refusal.Code != code || r.Refusal.Place != place {
		s.T.Errorf("%+v: %v, want %s at %q", m, r.Refusal, code, place)
	}
}

func (s *shop) account(q api.GetUser) (api.Account, *api.Error) {
	s.T.Helper()
	var a api.Account
	refusal := s.Ask(&q, &a)
	return a, refusal
}

func person(n int) *api.RegisterUser {
	return &api.RegisterUser{ID: fmt.Sprintf("usr_%d", n), Role: api.RoleShopper,
		Email: fmt.Sprintf("p%d@example.org", n), Name: "Zoë"}
}

// ACCEPT U1
func TestRegister(t *testing.T) {
	s := open(t)
	p := person(1)
	p.PasswordHash = hash1
	var u api.User
	s.must(p, &u)
	want := api.User{ID: p.ID, Email: p.Email, Name: p.Name, Role: p.Role,
		Created: api.TimeOf(s.Now)}
	if u != want {
		t.Errorf("outcome %+v, want %+v", u, want)
	}
	for _, q := range []api.GetUser{{ID: p.ID}, {Email: p.Email}, {Email: "P1@Example.ORG"}} {
		a, refusal := s.account(q)
		if refusal != nil || a.User != want || a.PasswordHash != hash1 {
			t.Errorf("%+v: %+v, %v", q, a, refusal)
		}
	}
	for _, q := range []api.GetUser{{}, {ID: "usr_2"}, {Email: "x@example.org"}} {
		if _, refusal := s.account(q); refusal == nil || refusal.Code != api.CodeNotFound {
			t.Errorf("%+v: %v", q, refusal)
		}
	}
}

// ACCEPT U1 U4
func TestRegisterRefusesBadInput(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	for _, c := range []struct {
		place  string
		change func(*api.RegisterUser)
	}{
		{"id", func(m *api.RegisterUser) { m.ID = "" }},
		{"id", func(m *api.RegisterUser) { m.ID = "usr_" }},
		{"id", func(m *api.RegisterUser) { m.ID = "usr_a.b" }},
		{"id", func(m *api.RegisterUser) { m.ID = "usr_" + strings.Repeat("a", 61) }},
		{"id", func(m *api.RegisterUser) { m.ID = "ord_1" }},
		{"id", func(m *api.RegisterUser) { m.ID = "usr_1" }},
		{"email", func(m *api.RegisterUser) { m.Email = "" }},
		{"email", func(m *api.RegisterUser) { m.Email = "@b" }},
		{"email", func(m *api.RegisterUser) { m.Email = "a@" }},
		{"email", func(m *api.RegisterUser) { m.Email = "A@example.org" }},
		{"email", func(m *api.RegisterUser) { m.Email = "a@b@c" }},
		{"email", func(m *api.RegisterUser) { m.Email = "a b@example.org" }},
		{"email", func(m *api.RegisterUser) { m.Email = "a@example.org\n" }},
		{"email", func(m *api.RegisterUser) { m.Email = strings.Repeat("a", 253) + "@b" }},
		{"name", func(m *api.RegisterUser) { m.Name = strings.Repeat("ü", 101) }},
		{"name", func(m *api.RegisterUser) { m.Name = "a\x00b" }},
		{"role", func(m *api.RegisterUser) { m.Role = "" }},
		{"role", func(m *api.RegisterUser) { m.Role = "Admin" }},
		{"password_hash", func(m *api.RegisterUser) { m.PasswordHash = "secret" }},
	} {
		m := person(2)
		c.change(m)
		s.refused(m, api.CodeInvalid, c.place)
	}
	if _, refusal := s.account(api.GetUser{Email: "p2@example.org"}); refusal == nil {
		t.Error("a refused account exists")
	}
	longest := person(3)
	longest.Email, longest.Name = strings.Repeat("a", 252)+"@b", strings.Repeat("ü", 100)
	longest.Role = api.RoleAdmin
	s.must(longest, nil)
}

// ACCEPT U1
func TestEmailIsUnique(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	again := person(2)
	again.Email = "p1@example.org"
	s.refused(again, api.CodeEmailTaken, "email")
	s.refused(person(1), api.CodeEmailTaken, "email")
	first := s.Edge("same", person(3))
	if second := s.Edge("same", person(3)); second.Refusal != nil ||
		string(second.Value) != string(first.Value) {
		t.Errorf("told twice: %v", second)
	}
}

func TestMakeUsers(t *testing.T) {
	s := open(t)
	one := person(1)
	one.PasswordHash = hash1
	s.must(one, nil)
	m := &api.MakeUsers{}
	for n := range api.MaxUsers {
		m.Users = append(m.Users, *person(n))
	}
	s.must(m, nil)
	s.must(m, nil)
	m.Users = append(m.Users[:2:2], m.Users[0])
	s.must(m, nil)
	if a, refusal := s.account(api.GetUser{ID: "usr_1"}); refusal != nil || a.PasswordHash != hash1 {
		t.Errorf("usr_1 was not left alone: %+v %v", a, refusal)
	}
	last := fmt.Sprintf("usr_%d", api.MaxUsers-1)
	if a, refusal := s.account(api.GetUser{ID: last}); refusal != nil || a.PasswordHash != "" {
		t.Errorf("%s: %+v %v", last, a, refusal)
	}
}

func TestMakeUsersIsAllOrNone(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	taken, hashed, bad, twin := person(5), person(5), person(5), person(5)
	taken.Email, hashed.PasswordHash, bad.Role, twin.Email = person(1).Email, hash1, "king",
		person(4).Email
	for _, c := range []struct {
		users []api.RegisterUser
		code  api.Code
		place string
	}{
		{nil, api.CodeInvalid, "users"},
		{make([]api.RegisterUser, api.MaxUsers+1), api.CodeInvalid, "users"},
		{[]api.RegisterUser{*person(4), *taken}, api.CodeEmailTaken, "users[1].email"},
		{[]api.RegisterUser{*person(4), *twin}, api.CodeEmailTaken, "users[1].email"},
		{[]api.RegisterUser{*person(4), *hashed}, api.CodeInvalid, "users[1].password_hash"},
		{[]api.RegisterUser{*person(4), *person(3), *bad}, api.CodeInvalid, "users[2].role"},
	} {
		s.refused(&api.MakeUsers{Users: c.users}, c.code, c.place)
	}
	if _, refusal := s.account(api.GetUser{ID: "usr_4"}); refusal == nil {
		t.Error("a part of a refused message was done")
	}
}

func (s *shop) revocations(after int64) []api.Revocation {
	s.T.Helper()
	var l api.RevocationList
	if refusal := s.Ask(&api.ListRevocations{After: after}, &l); refusal != nil {
		s.T.Fatal(refusal)
	}
	return l.Revocations
}

// ACCEPT U1
func TestChangePassword(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	var r api.Revocation
	s.must(&api.ChangePassword{User: "usr_1", PasswordHash: hash2}, &r)
	want := api.Revocation{Seq: 1, User: "usr_1", Before: api.TimeOf(s.Now)}
	if r != want {
		t.Errorf("outcome %+v, want %+v", r, want)
	}
	if got := s.revocations(0); len(got) != 1 || got[0] != want {
		t.Errorf("recorded %+v", got)
	}
	if a, _ := s.account(api.GetUser{ID: "usr_1"}); a.PasswordHash != hash2 {
		t.Errorf("hash %q", a.PasswordHash)
	}
	s.refused(&api.ChangePassword{User: "usr_2", PasswordHash: hash2}, api.CodeNotFound, "user")
	s.refused(&api.ChangePassword{User: "usr_1", PasswordHash: ""}, api.CodeInvalid,
		"password_hash")
	s.refused(&api.ChangePassword{User: "usr_1", PasswordHash: "123456"}, api.CodeInvalid,
		"password_hash")
	if got := s.revocations(0); len(got) != 1 {
		t.Errorf("a refused change ended sessions: %+v", got)
	}
}

func sessionName(n int) string { return fmt.Sprintf("%064x", n) }

// ACCEPT U1
func TestEndSession(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	end := &api.EndSession{User: "usr_1", Session: sessionName(1),
		Until: api.TimeOf(s.Now.Add(time.Hour))}
	var first, second api.Revocation
	s.must(end, &first)
	s.must(end, &second)
	want := api.Revocation{Seq: 1, User: "usr_1", Session: end.Session}
	if first != want || second != want {
		t.Errorf("outcomes %+v and %+v, want %+v", first, second, want)
	}
	if got := s.revocations(0); len(got) != 1 || got[0] != want {
		t.Errorf("recorded %+v", got)
	}
	for _, name := range []string{"", "abc", strings.Repeat("g", 64), strings.Repeat("A", 64)} {
		s.refused(&api.EndSession{User: "usr_1", Session: name, Until: end.Until},
			api.CodeInvalid, "session")
	}
	s.refused(&api.EndSession{User: "usr_1", Session: end.Session}, api.CodeInvalid, "until")
	s.refused(&api.EndSession{User: "usr_9", Session: end.Session, Until: end.Until},
		api.CodeNotFound, "user")
}

// ACCEPT U1
func TestRevocationsAreForgottenInTime(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	s.must(&api.ChangePassword{User: "usr_1", PasswordHash: hash2}, nil)
	s.must(&api.EndSession{User: "usr_1", Session: sessionName(1),
		Until: api.TimeOf(s.Now.Add(time.Hour))}, nil)
	s.must(&api.EndSession{User: "usr_1", Session: sessionName(2),
		Until: api.TimeOf(s.Now.Add(365 * 24 * time.Hour))}, nil)
	for _, c := range []struct {
		wait time.Duration
		left int
	}{
		{59 * time.Minute, 3}, {time.Minute, 2}, {api.MaxSession - 2*time.Hour, 2},
		{time.Hour, 0},
	} {
		s.Advance(c.wait)
		s.Tick()
		if got := s.revocations(0); len(got) != c.left {
			t.Errorf("after another %v: %+v, want %d", c.wait, got, c.left)
		}
	}
	var r api.Revocation
	s.must(&api.ChangePassword{User: "usr_1", PasswordHash: hash1}, &r)
	if r.Seq != 4 || len(s.revocations(3)) != 1 {
		t.Errorf("a number was used again: %+v", r)
	}
}

func TestManyRevocations(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	until := api.TimeOf(s.Now.Add(time.Hour))
	const n = actors.SweepLimit + 5
	for i := range n {
		s.must(&api.EndSession{User: "usr_1", Session: sessionName(i), Until: until}, nil)
	}
	page := s.revocations(0)
	if len(page) != api.MaxRevocations {
		t.Fatalf("a page of %d", len(page))
	}
	if rest := s.revocations(page[len(page)-1].Seq); len(rest) != n-api.MaxRevocations {
		t.Errorf("then %d, want %d", len(rest), n-api.MaxRevocations)
	}
	s.Advance(2 * time.Hour)
	s.Tick()
	if left := s.revocations(0); len(left) != n-actors.SweepLimit {
		t.Errorf("one tick left %d, want %d", len(left), n-actors.SweepLimit)
	}
	s.Tick()
	if left := s.revocations(0); len(left) != 0 {
		t.Errorf("two ticks left %d", len(left))
	}
}
