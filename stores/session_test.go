package stores_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/stores"
)

func openSessions(t *testing.T, kv jetstream.KeyValue, ttl time.Duration) *stores.Sessions {
	t.Helper()
	s, err := stores.NewSessions(kv, ttl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func login(t *testing.T, s *stores.Sessions, user string) (string, stores.Session) {
	t.Helper()
	token, sess, err := s.Create(t.Context(), user, api.RoleShopper)
	if err != nil {
		t.Fatal(err)
	}
	return token, sess
}

func wantSession(t *testing.T, s *stores.Sessions, token string, want stores.Session) {
	t.Helper()
	if got, err := s.Get(t.Context(), token); err != nil || got != want {
		t.Errorf("session %+v, %v; want %+v", got, err, want)
	}
}

func wantNone(t *testing.T, s *stores.Sessions, what, token string) {
	t.Helper()
	_, err := s.Get(t.Context(), token)
	wantCode(t, what, err, api.CodeUnauthorized)
}

// ACCEPT U1
func TestSession(t *testing.T) {
	kv := bucket(t, startNATS(t), "session", time.Hour)
	s, other := openSessions(t, kv, time.Hour), openSessions(t, kv, time.Hour)
	token, sess := login(t, s, "usr_1")
	if !strings.HasPrefix(token, "ses_") || len(token) != 36 || sess.User != "usr_1" ||
		sess.Role != api.RoleShopper || sess.Expires != sess.Started.Add(time.Hour) {
		t.Errorf("token %q opens %+v", token, sess)
	}
	for range 3 {
		wantSession(t, s, token, sess)
		wantSession(t, other, token, sess)
	}
	for _, forged := range []string{"", "ses_", token[4:], token + "A", token[:35] + "!",
		stores.SessionHash(token), strings.Repeat("x", 36)} {
		wantNone(t, s, "forged "+forged, forged)
	}
	entry, err := kv.Get(t.Context(), stores.SessionHash(token))
	if err != nil || strings.Contains(string(entry.Value()), token) {
		t.Errorf("the bucket has %s, %v", entry.Value(), err)
	}
}

// ACCEPT U1
func TestEndedSessionIsRefusedEverywhere(t *testing.T) {
	kv := bucket(t, startNATS(t), "session", time.Hour)
	s, other := openSessions(t, kv, time.Hour), openSessions(t, kv, time.Hour)
	token, sess := login(t, s, "usr_1")
	stay, staying := login(t, s, "usr_1")
	// Both have it in memory now.
	wantSession(t, s, token, sess)
	wantSession(t, other, token, sess)
	for range 2 {
		if err := s.End(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	wantNone(t, s, "ended here", token)
	eventually(t, "the other process hears of it", func() bool {
		_, err := other.Get(t.Context(), token)
		return api.AsError(err) != nil
	})
	wantSession(t, s, stay, staying)
	if err := s.End(t.Context(), "no token"); err != nil {
		t.Errorf("end of nothing: %v", err)
	}
}

// ACCEPT U1
func TestCacheIsEvictedOnEveryChange(t *testing.T) {
	kv := bucket(t, startNATS(t), "session", time.Hour)
	s := openSessions(t, kv, time.Hour)
	token, sess := login(t, s, "usr_1")
	for range 20 {
		wantSession(t, s, token, sess)
		sess.Role += "x"
		if _, err := kv.Put(t.Context(), stores.SessionHash(token), api.Raw(sess)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new value is read", func() bool {
			got, err := s.Get(t.Context(), token)
			return err == nil && got == sess
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), stores.SessionHash(token)); err != nil {
		t.Fatal(err)
	}
	wantNone(t, s, "deleted when nobody watches", token)
}

// ACCEPT U1
func TestSessionExpires(t *testing.T) {
	kv := bucket(t, startNATS(t), "session", time.Hour)
	s := openSessions(t, kv, 400*time.Millisecond)
	token, sess := login(t, s, "usr_1")
	wantSession(t, s, token, sess)
	eventually(t, "the session expires", func() bool {
		_, err := s.Get(t.Context(), token)
		return api.AsError(err) != nil
	})
	if now := api.TimeOf(time.Now()); now < sess.Expires {
		t.Errorf("it ended %v early", time.Duration(sess.Expires-now))
	}
	if _, err := stores.NewSessions(kv, 0); err == nil {
		t.Error("sessions without an end were allowed")
	}
}

// ACCEPT U1
func TestBucketDropsSessions(t *testing.T) {
	kv := bucket(t, startNATS(t), "session", time.Second)
	s := openSessions(t, kv, time.Hour)
	token, _ := login(t, s, "usr_1")
	eventually(t, "the bucket drops it", func() bool { return len(keys(t, kv)) == 0 })
	wantNone(t, openSessions(t, kv, time.Hour), "dropped", token)
}

func keys(t *testing.T, kv jetstream.KeyValue) (all []string) {
	t.Helper()
	// A key that expires while they are counted is waited for in vain.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	l, err := kv.ListKeys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for k := range l.Keys() {
		all = append(all, k)
	}
	return all
}

// ACCEPT U1
func TestRevoke(t *testing.T) {
	kv := bucket(t, startNATS(t), "session", time.Hour)
	s := openSessions(t, kv, time.Hour)
	one, first := login(t, s, "usr_1")
	two, second := login(t, s, "usr_1")
	foreign, other := login(t, s, "usr_2")
	wantSession(t, s, one, first)
	wantSession(t, s, two, second)

	s.Revoke(api.Revocation{User: "usr_1", Session: stores.SessionHash(one)})
	wantNone(t, s, "revoked by name", one)
	wantSession(t, s, two, second)

	s.Revoke(api.Revocation{User: "usr_1", Before: second.Started})
	wantSession(t, s, two, second)
	s.Revoke(api.Revocation{User: "usr_1", Before: second.Started + 1})
	wantNone(t, s, "revoked with all of the user", two)
	// An older cutoff, told later, brings nothing back.
	s.Revoke(api.Revocation{User: "usr_1", Before: first.Started})
	wantNone(t, s, "still revoked", two)
	wantSession(t, s, foreign, other)

	// The clock that dates revocations may be ahead of this one.
	ahead := api.TimeOf(time.Now().Add(time.Minute))
	s.Revoke(api.Revocation{User: "usr_1", Before: ahead})
	three, third := login(t, s, "usr_1")
	wantSession(t, s, three, third)
}

// An operator's session lives for its own time, or that of all, and is believed
// while it is not known which users' sessions have ended.
// ACCEPT U1
func TestOperatorSession(t *testing.T) {
	s := openSessions(t, bucket(t, startNATS(t), "session", time.Hour), time.Hour)
	for age, want := range map[time.Duration]time.Duration{time.Minute: time.Minute,
		2 * time.Hour: time.Hour} {
		token, sess, err := s.CreateOperator(t.Context(), "admin", "of a token", age)
		if err != nil || sess.Expires != sess.Started.Add(want) || sess.Operator != "of a token" ||
			sess.Role != api.RoleAdmin {
			t.Fatalf("%v: %+v, %v", age, sess, err)
		}
		s.Hold()
		wantSession(t, s, token, sess)
		if err := s.End(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		wantNone(t, s, "ended", token)
		s.Release()
	}
}

// A process that starts believes no session before it knows which have ended.
// ACCEPT U1
func TestHeldSessions(t *testing.T) {
	s := openSessions(t, bucket(t, startNATS(t), "session", time.Hour), time.Hour)
	token, sess := login(t, s, "usr_1")
	ended, _ := login(t, s, "usr_1")
	s.Hold()
	_, err := s.Get(t.Context(), token)
	wantCode(t, "a held session", err, api.CodeUnavailable)
	wantNone(t, s, "an unknown session", "ses_"+strings.Repeat("A", 32))
	s.Revoke(api.Revocation{User: "usr_1", Session: stores.SessionHash(ended)})
	if !s.Held() {
		t.Error("not held")
	}
	s.Release()
	wantSession(t, s, token, sess)
	wantNone(t, s, "an ended session", ended)
}

// ACCEPT U1
func TestRevocationsAreForgottenWhenNothingIsLeftToRevoke(t *testing.T) {
	kv := bucket(t, startNATS(t), "session", time.Hour)
	s := openSessions(t, kv, 50*time.Millisecond)
	long := openSessions(t, kv, time.Hour)
	token, sess := login(t, long, "usr_1")
	s.Revoke(api.Revocation{User: "usr_1", Session: stores.SessionHash(token)})
	s.Revoke(api.Revocation{User: "usr_1", Before: sess.Started + 1})
	wantNone(t, s, "revoked", token)
	// Here a session outlives what the store was told, which shows that the
	// store forgets.
	eventually(t, "the revocations are forgotten", func() bool {
		s.Revoke(api.Revocation{User: "usr_2", Before: 1})
		got, err := s.Get(t.Context(), token)
		return err == nil && got == sess
	})
}

// ACCEPT U1
func TestSessionsOfManyAtOnce(t *testing.T) {
	kv := bucket(t, startNATS(t), "session", time.Hour)
	s := openSessions(t, kv, time.Hour)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				token, sess, err := s.Create(t.Context(), "usr_1", api.RoleShopper)
				if err != nil {
					t.Error(err)
					return
				}
				wantSession(t, s, token, sess)
				wantSession(t, s, token, sess)
				if err := s.End(t.Context(), token); err != nil {
					t.Error(err)
				}
				wantNone(t, s, "ended", token)
			}
		})
	}
	wg.Wait()
}

func TestSessionsCloseAfterTheirConnection(t *testing.T) {
	js := startNATS(t)
	s := openSessions(t, bucket(t, js, "session", time.Hour), time.Hour)
	js.Conn().Close()
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close hangs")
	}
	_, _, err := s.Create(t.Context(), "usr_1", api.RoleShopper)
	if err == nil || api.AsError(err) != nil {
		t.Errorf("without NATS: %v, want a fault", err)
	}
}
