package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"ordo/api"
	"ordo/api/schema"
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
		Version: h.spec.Version, Description: h.spec.Description, StatsHandler: h.queryStats,
		Metadata: map[string]string{"ordo.actor": h.spec.Name}})
	if err != nil {
		return nil, fmt.Errorf("queries: %w", err)
	}
	s.svc, h.local = svc, map[string]*atomic.Int64{}
	for name, q := range h.engine.queries {
		h.local[name] = &atomic.Int64{}
		if err := s.serve(name, q.Description, func(r micro.Request) {
			s.answer(name,
				r)
		}); err != nil {
			return s, err
		}
	}
	for name, handle := range map[string]micro.HandlerFunc{api.EndpointStatus: s.status,
		api.EndpointSchema: s.schema} {
		if err := s.serve(name, builtinDescriptions[name], handle); err != nil {
			return s, err
		}
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

// serve adds an endpoint. Its metadata says what it answers, and where its schema
// is.
func (s *server) serve(name, description string, handle micro.HandlerFunc) error {
	actor := s.h.spec.Name
	if err := s.svc.AddEndpoint(name, handle,
		micro.WithEndpointSubject(bus.QuerySubject(actor, name)),
		micro.WithEndpointMetadata(map[string]string{"description": description,
			"schema": bus.QuerySubject(actor, api.EndpointSchema)})); err != nil {
		return fmt.Errorf("queries: %w", err)
	}
	return nil
}

// schema answers the JSON Schema of a subject of the actor, or lists them.
func (s *server) schema(r micro.Request) {
	var q api.GetSchema
	if len(r.Data()) > 0 {
		if err := json.Unmarshal(r.Data(), &q); err != nil {
			refusal := api.Refuse(api.CodeInvalid, "query: %v", err)
			s.log(api.EndpointSchema, r.Error(string(refusal.Code), refusal.Message,
				api.Raw(refusal)))
			return
		}
	}
	body, ok := schema.Of(s.h.spec.Name, q)
	if !ok {
		refusal := api.Refuse(api.CodeNotFound, "%s has no subject %q", s.h.spec.Name, q.Subject)
		s.log(api.EndpointSchema, r.Error(string(refusal.Code), refusal.Message, api.Raw(refusal)))
		return
	}
	s.log(api.EndpointSchema, r.Respond(body))
}

// queryStats is what `nats micro stats` shows of an endpoint beside what came
// over NATS: an edge in the same process asks without that.
func (h *Host) queryStats(e *micro.Endpoint) any {
	type stats struct {
		InProcess int64 `json:"in_process_requests"`
	}
	if n := h.local[e.Name]; n != nil {
		return stats{n.Load()}
	}
	return stats{}
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
	if n := h.local[name]; n != nil {
		n.Add(1)
	}
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
