package stores

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
)

// MaxCachedSessions is how many sessions one process keeps in memory.
const MaxCachedSessions = 65_536

// sessionPrefix begins every session token; sessionBytes of chance follow.
const (
	sessionPrefix = "ses_"
	sessionBytes  = 20
	sessionLength = len(sessionPrefix) + sessionBytes*8/5
)

// Session is who is logged in, as it stands in the bucket under the hash of
// its token. Row U1.
type Session struct {
	User string `json:"user"`
	// Role is one of the api.Role constants.
	Role    string   `json:"role"`
	Started api.Time `json:"started"`
	Expires api.Time `json:"expires"`
	// Operator is what the admin token was called with which it was begun; empty
	// for a user's session. There is no account behind it, so nobody but the bucket
	// knows that it has ended.
	Operator string `json:"operator,omitempty"`
}

// Sessions keeps the sessions of all users in a KV bucket, and those asked for
// lately in memory. It may be used by any number of goroutines.
type Sessions struct {
	kv      jetstream.KeyValue
	ttl     time.Duration
	watcher jetstream.KeyWatcher
	cancel  context.CancelFunc
	done    chan struct{}
	// held is true while it is not known which sessions have ended.
	held atomic.Bool

	// mu guards what follows.
	mu sync.Mutex
	// watched is true while the watcher tells what changes; without it nothing
	// is cached.
	watched bool
	// news counts the changes heard of, so that a value read before a change
	// is not cached after it.
	news uint64
	// young and old are two generations of the cache; old is dropped when
	// young is full.
	young, old map[string]Session
	revoked    revoked
}

// revoked is what Revoke was told, until no session that is meant can live.
type revoked struct {
	sessions map[string]api.Time   // hash → kept until
	users    map[string]userCutoff // user → cutoff
	queue    []revokedKey          // oldest first
}

type userCutoff struct{ before, until api.Time }

type revokedKey struct {
	session, user string
	until         api.Time
}

// NewSessions opens the store on its bucket and starts to watch it; Close
// stops that. Sessions live for ttl, which must not be longer than the
// bucket's own.
func NewSessions(kv jetstream.KeyValue, ttl time.Duration) (*Sessions, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("stores: sessions: a time to live of %v", ttl)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w, err := kv.WatchAll(ctx, jetstream.UpdatesOnly(), jetstream.MetaOnly())
	if err != nil {
		cancel()
		return nil, fmt.Errorf("stores: sessions: watch: %w", err)
	}
	s := &Sessions{kv: kv, ttl: ttl, watcher: w, cancel: cancel, done: make(chan struct{}),
		watched: true, young: map[string]Session{}, old: map[string]Session{},
		revoked: revoked{sessions: map[string]api.Time{}, users: map[string]userCutoff{}}}
	go s.watch()
	return s, nil
}

// Close stops watching. The store still answers, without a cache.
func (s *Sessions) Close() error {
	err := s.watcher.Stop()
	if errors.Is(err, nats.ErrConsumerNotFound) || errors.Is(err, nats.ErrBadSubscription) {
		err = nil // it ended with its server
	}
	s.cancel()
	<-s.done
	return err
}

// watch evicts what changes until the watcher ends.
func (s *Sessions) watch() {
	defer close(s.done)
	for e := range s.watcher.Updates() {
		if e != nil {
			s.evict(e.Key())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = false
	clear(s.young)
	clear(s.old)
}

func (s *Sessions) evict(hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news++
	delete(s.young, hash)
	delete(s.old, hash)
}

// SessionHash is the name of a session in the bucket and in revocations: the
// SHA-256 of its token in hex, so that who reads the bucket can't log in.
func SessionHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Create begins a session and returns the token that its owner will show.
func (s *Sessions) Create(ctx context.Context, user, role string) (string, Session, error) {
	return s.begin(ctx, Session{User: user, Role: role}, s.ttl)
}

// CreateOperator begins a session of an operator, which lives for age, but no longer
// than others.
func (s *Sessions) CreateOperator(ctx context.Context, user, operator string,
	age time.Duration) (string, Session, error) {
	return s.begin(ctx, Session{User: user, Role: api.RoleAdmin, Operator: operator},
		min(age, s.ttl))
}

func (s *Sessions) begin(ctx context.Context, sess Session, age time.Duration) (string, Session,
	error) {
	chance := make([]byte, sessionBytes)
	rand.Read(chance) // never fails
	token := sessionPrefix + base32.StdEncoding.EncodeToString(chance)
	started := api.TimeOf(time.Now())
	s.mu.Lock()
	// The stream's clock, which dates password changes, may be ahead of ours.
	started = max(started, s.revoked.users[sess.User].before)
	s.mu.Unlock()
	sess.Started, sess.Expires = started, started.Add(age)
	if _, err := s.kv.Create(ctx, SessionHash(token), api.Raw(sess)); err != nil {
		return "", Session{}, fmt.Errorf("stores: create session: %w", err)
	}
	return token, sess, nil
}

// Hold has Get open no session until Release. A process that starts calls it,
// because the bucket may have lost the end of a session, and it must not
// believe one before it has told Revoke which ones have ended.
func (s *Sessions) Hold() { s.held.Store(true) }

// Release ends Hold.
func (s *Sessions) Release() { s.held.Store(false) }

// Held tells whether sessions are held back.
func (s *Sessions) Held() bool { return s.held.Load() }

// Get is the session that a token opens. It refuses with CodeUnauthorized a
// token that is unknown, expired or revoked, and with CodeUnavailable that of any
// other user while sessions are held back; any other error is a fault.
func (s *Sessions) Get(ctx context.Context, token string) (Session, error) {
	if !isSessionToken(token) {
		return Session{}, noSession()
	}
	hash := SessionHash(token)
	sess, news, ok := s.cached(hash)
	if !ok {
		e, err := s.kv.Get(ctx, hash)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return Session{}, noSession()
		}
		if err != nil {
			return Session{}, fmt.Errorf("stores: get session: %w", err)
		}
		if err := json.Unmarshal(e.Value(), &sess); err != nil {
			return Session{}, fmt.Errorf("stores: get session: %w", err)
		}
		s.cache(hash, sess, news)
	}
	if sess.Expires <= api.TimeOf(time.Now()) || s.isRevoked(hash, sess) {
		return Session{}, noSession()
	}
	if s.held.Load() && sess.Operator == "" {
		return Session{},
			api.Refuse(api.CodeUnavailable, "it is not known yet which sessions have ended")
	}
	return sess, nil
}

func isSessionToken(s string) bool {
	return len(s) == sessionLength && s[:len(sessionPrefix)] == sessionPrefix
}

func noSession() error {
	return api.Refuse(api.CodeUnauthorized, "there is no such session, or it has ended")
}

// End ends the session of a token in the bucket; one that is unknown is no
// error. To outlive a power loss it also needs an api.EndSession.
func (s *Sessions) End(ctx context.Context, token string) error {
	if !isSessionToken(token) {
		return nil
	}
	hash := SessionHash(token)
	s.Revoke(api.Revocation{Session: hash})
	if err := s.kv.Delete(ctx, hash); err != nil {
		return fmt.Errorf("stores: end session: %w", err)
	}
	return nil
}

// Revoke has this store refuse, from now on, the session that r names by its
// hash or, without one, all sessions of the user that started before r.Before.
// It is remembered until none of them can live any more.
func (s *Sessions) Revoke(r api.Revocation) {
	now := api.TimeOf(time.Now())
	until := max(now, r.Before).Add(s.ttl)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked.prune(now)
	if r.Session != "" {
		s.revoked.sessions[r.Session] = until
		delete(s.young, r.Session)
		delete(s.old, r.Session)
	} else {
		before := max(r.Before, s.revoked.users[r.User].before)
		s.revoked.users[r.User] = userCutoff{before, until}
		r.Session = ""
	}
	s.revoked.queue = append(s.revoked.queue, revokedKey{r.Session, r.User, until})
}

// prune forgets, from the oldest on, what is not needed any more.
func (r *revoked) prune(now api.Time) {
	n := 0
	for ; n < len(r.queue) && r.queue[n].until < now; n++ {
		k := r.queue[n]
		switch {
		case k.session != "" && r.sessions[k.session] <= k.until:
			delete(r.sessions, k.session)
		case k.session == "" && r.users[k.user].until <= k.until:
			delete(r.users, k.user)
		}
	}
	r.queue = r.queue[n:]
}

func (s *Sessions) isRevoked(hash string, sess Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.revoked.sessions[hash]; ok {
		return true
	}
	return sess.Started < s.revoked.users[sess.User].before
}

// cached looks into the cache; news is to be handed to cache with what the
// bucket says instead.
func (s *Sessions) cached(hash string) (sess Session, news uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess, ok = s.young[hash]; ok {
		return sess, s.news, true
	}
	if sess, ok = s.old[hash]; ok {
		delete(s.old, hash)
		s.keep(hash, sess)
	}
	return sess, s.news, ok
}

// cache keeps what was read from the bucket unless anything has changed there
// since news.
func (s *Sessions) cache(hash string, sess Session, news uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched && s.news == news {
		s.keep(hash, sess)
	}
}

func (s *Sessions) keep(hash string, sess Session) {
	if len(s.young) >= MaxCachedSessions/2 {
		s.young, s.old = map[string]Session{}, s.young
	}
	s.young[hash] = sess
}
