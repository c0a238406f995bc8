package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"ordo/api"
	"ordo/bus"
)

// server answers an actor's queries as a NATS micro service, and the questions
// of other actors about its channels.
type server struct {
	h    *Host
	svc  micro.Service
	subs []*nats.Subscription

	closing sync.Once
}

func serveQueries(h *Host) (*server, error) {
	s := &server{h: h}
	svc, err := micro.AddService(h.nc, micro.Config{Name: "ordo-" + h.spec.Name,
		Version: h.spec.Version, Description: h.spec.Description})
	if err != nil {
		return nil, fmt.Errorf("queries: %w", err)
	}
	s.svc = svc
	for name, q := range h.engine.queries {
		if err := svc.AddEndpoint(name, micro.HandlerFunc(func(r micro.Request) { s.answer(name, r) }),
			micro.WithEndpointSubject(bus.QuerySubject(h.spec.Name, name)),
			micro.WithEndpointMetadata(map[string]string{"description": q.Description})); err != nil {
			return s, fmt.Errorf("queries: %w", err)
		}
	}
	if err := svc.AddEndpoint(api.EndpointStatus, micro.HandlerFunc(s.status),
		micro.WithEndpointSubject(bus.QuerySubject(h.spec.Name, api.EndpointStatus)),
		micro.WithEndpointMetadata(map[string]string{"description": "How the actor is."})); err != nil {
		return s, fmt.Errorf("queries: %w", err)
	}
	for subject, handle := range map[string]nats.MsgHandler{
		bus.CommittedSubject(h.engine.self): s.committed,
		bus.KnownSubject:                    s.known,
	} {
		sub, err := h.nc.Subscribe(subject, handle)
		if err != nil {
			return s, fmt.Errorf("queries: %w", err)
		}
		s.subs = append(s.subs, sub)
	}
	// Senders that wait for this actor ask at once; the others ask anyway.
	return s, h.nc.Publish(bus.UpSubject, []byte(h.engine.self))
}

// close stops answering; only its first call does.
func (s *server) close() error {
	var errs []error
	s.closing.Do(func() {
		errs = append(errs, s.svc.Stop())
		for _, sub := range s.subs {
			errs = append(errs, sub.Unsubscribe())
		}
	})
	return errors.Join(errs...)
}

// answer answers one query. The error header carries the refusal's code, the
// body the refusal.
func (s *server) answer(name string, r micro.Request) {
	value, err := s.h.engine.Ask(name, r.Data())
	if err == nil {
		var body []byte
		if body, err = json.Marshal(value); err == nil {
			s.log(name, r.Respond(body))
			return
		}
	}
	refusal := api.AsError(err)
	if refusal == nil {
		s.h.log.Error("query failed", "subject", r.Subject(), "err", err)
		refusal = api.Refuse(api.CodeInternal, "the query failed")
	}
	s.log(name, r.Error(string(refusal.Code), refusal.Message, api.Raw(refusal)))
}

// askLocal answers an edge of the same process. A fault is logged here.
func (h *Host) askLocal(name string, q, into any) error {
	if name == api.EndpointStatus {
		return put(into, h.ActorStatus(context.Background()))
	}
	err := h.engine.AskInto(name, q, into)
	if err != nil && api.AsError(err) == nil {
		h.log.Error("query failed", "query", name, "err", err)
		return api.Refuse(api.CodeInternal, "the query failed")
	}
	return err
}

func (s *server) status(r micro.Request) {
	s.log(api.EndpointStatus, r.Respond(api.Raw(s.h.ActorStatus(context.Background()))))
}

func (s *server) log(name string, err error) {
	if err != nil {
		s.h.log.Warn("answer not sent", "query", name, "err", err)
	}
}

func (s *server) committed(m *nats.Msg) {
	var q confirmRequest
	if err := json.Unmarshal(m.Data, &q); err != nil {
		s.h.log.Warn("question can't be read", "subject", m.Subject, "err", err)
		return
	}
	_, number := s.h.engine.LastOf(q.Sender)
	s.log("committed", m.Respond(api.Raw(&CommittedReply{Number: number,
		ReadUpTo: api.Time(s.h.readUpTo.Load())})))
}

// known answers a starting actor that asks whether anyone has had a number
// committed by it.
func (s *server) known(m *nats.Msg) {
	if r, ok := s.h.engine.Receivers()[string(m.Data)]; ok && r[1] > 0 {
		s.log("known", m.Respond([]byte(s.h.engine.self)))
	}
}
