package rest

import (
	"context"
	"fmt"
	"slices"

	"ordo/api"
	"ordo/bus"
)

type deadInput struct {
	PageQuery
	Actor string `query:"actor" required:"true" maxLength:"32" doc:"Whose dead letters."`
	State string `query:"state" enum:"open,retried,dismissed"`
}

// listDead is row M5.
func (s *Server) listDead(ctx context.Context, in *deadInput) (
	*answer[api.LetterList], error) {
	if err := checkActor(in.Actor); err != nil {
		return nil, err
	}
	q := &api.ListLetters{Page: in.page(), State: in.State}
	out := &answer[api.LetterList]{}
	if err := s.Edge.AskActor(ctx, api.Route{Actor: in.Actor, Verb: api.EndpointDead}, q,
		&out.Body); err != nil {
		return nil, err
	}
	for i := range out.Body.Letters {
		out.Body.Letters[i] = shownLetter(ctx, out.Body.Letters[i])
	}
	return out, nil
}

// shownLetter is a letter as the caller may see it: an admin without secrets, and
// support without personal data as well.
func shownLetter(ctx context.Context, l api.Letter) api.Letter {
	if callerOf(ctx).Role == api.RoleAdmin {
		l.Body = api.MaskSecrets(l.Body)
		return l
	}
	l.Body, l.Error, l.Reason = api.Mask(l.Body), api.MaskText(l.Error), api.MaskText(l.Reason)
	return l
}

// LetterPath names a dead letter; embed it in an input.
type LetterPath struct {
	// Actor has the letter, N is its number there.
	Actor string `path:"actor" maxLength:"32"`
	N     int64  `path:"n" minimum:"1"`
}

func (s *Server) getDead(ctx context.Context, in *LetterPath) (*answer[api.Letter], error) {
	if err := checkActor(in.Actor); err != nil {
		return nil, err
	}
	var list api.LetterList
	if err := s.Edge.AskActor(ctx, api.Route{Actor: in.Actor, Verb: api.EndpointDead},
		&api.ListLetters{N: in.N}, &list); err != nil {
		return nil, err
	}
	if len(list.Letters) == 0 {
		return nil, api.Refuse(api.CodeNotFound, "there is no dead letter %d", in.N)
	}
	return &answer[api.Letter]{shownLetter(ctx, list.Letters[0])}, nil
}

type settleInput struct {
	LetterPath
	What string `path:"what" enum:"retry,dismiss"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why; kept with the letter."`
	}
}

// letterState is what became of a letter.
type letterState struct {
	State string `json:"state" enum:"open,retried,dismissed"`
}

// settleDead is row M5. A retry is a message of its own.
func (s *Server) settleDead(ctx context.Context, in *settleInput) (*answer[letterState], error) {
	if err := checkActor(in.Actor); err != nil {
		return nil, err
	}
	verb, state := api.VerbRetryDead, ""
	if in.What == "dismiss" {
		verb, state = api.VerbDismissDead, "dismissed"
	}
	m := &api.LetterRef{N: in.N, By: callerOf(ctx).User, Reason: in.Body.Reason}
	err := s.Edge.DoVerb(ctx, api.Route{Actor: in.Actor, Verb: verb},
		api.NewID(fmt.Sprintf("dead-%s-%d-%s", in.Actor, in.N, in.What)), m, &state)
	s.log.Info("dead letter "+in.What, "actor", in.Actor, "letter", in.N, "by", m.By,
		"reason", api.MaskText(m.Reason), "state", state, "err", err)
	if err != nil {
		return nil, err
	}
	return &answer[letterState]{letterState{state}}, nil
}

// checkActor comes before the name becomes part of a subject.
func checkActor(name string) error {
	if !slices.Contains(bus.ActorNames(), name) {
		return api.Refuse(api.CodeNotFound, "there is no such actor").At("actor")
	}
	return nil
}
