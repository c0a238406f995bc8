package rest

import (
	"context"
	"errors"
	"strings"

	"ordo/api"
)

func (s *Server) findRoutes() {
	route(s, s.op("find", "GET /admin/v1/find", support,
		"What an id, an e-mail address, a SKU or a provider's number belongs to"), s.find)
}

type findInput struct {
	Word string `query:"q" required:"true" minLength:"1" maxLength:"254" doc:"As somebody wrote it."`
}

// Found are things that a word names; none where nothing is known by it.
type Found struct {
	Items []FoundThing `json:"items"`
	// Missing says who could not be asked.
	Missing api.MissingList `json:"missing"`
}

// FoundThing is an order, a user or a SKU. Attempts to pay, refunds and trades
// are found as the order that they belong to.
type FoundThing struct {
	Kind string `json:"kind" enum:"order,user,sku"`
	ID   string `json:"id"`
}

// find is row M7: support has a number from a person or a provider, and not what
// it is. What is looked for by its form comes first.
//
// An actor that does not answer makes it fail only where nothing was found.
func (s *Server) find(ctx context.Context, in *findInput) (*answer[Found], error) {
	word := strings.TrimSpace(in.Word)
	out := Found{Items: []FoundThing{}, Missing: api.MissingList{}}
	var away *Problem
	for _, look := range []func(context.Context, string) (FoundThing, error){
		s.findByForm, s.findSKU, s.findTrade} {
		thing, err := look(ctx, word)
		switch {
		case is(err, api.CodeNotFound), is(err, api.CodeInvalid):
		case errors.As(err, &away):
			out.Missing = append(out.Missing, api.Missing{Part: "items", Why: away.Detail})
		case err != nil:
			return nil, err
		}
		if thing.ID != "" {
			out.Items = append(out.Items, thing)
		}
	}
	if len(out.Items) == 0 && away != nil {
		return nil, away
	}
	return &answer[Found]{out}, nil
}

// findBy asks the actor that knows.
func (s *Server) findBy(ctx context.Context, q api.Query, into any) error {
	return named(q.Endpoint().Actor, s.Edge.Ask(ctx, q, into))
}

// findByForm looks for what the form of a word says that it is.
func (s *Server) findByForm(ctx context.Context, word string) (FoundThing, error) {
	prefix, _, _ := strings.Cut(word, "_")
	if strings.Contains(word, "@") {
		prefix = "@"
	}
	switch prefix {
	case api.PrefixOrder:
		var o api.Order
		err := s.findBy(ctx, &api.GetOrder{ID: word}, &o)
		if away := (*Problem)(nil); errors.As(err, &away) && checkOrderID(word) == nil {
			o.ID = word // others know it, if it is there
		}
		return FoundThing{"order", o.ID}, err
	case api.PrefixPayment:
		var a api.Attempt
		err := s.findBy(ctx, &api.GetAttempt{ID: word}, &a)
		return FoundThing{"order", a.Order}, err
	case api.PrefixRefund:
		var r api.Refund
		err := s.findBy(ctx, &api.GetRefund{ID: word}, &r)
		return FoundThing{"order", r.Order}, err
	case api.PrefixUser:
		var u api.Account
		err := s.findBy(ctx, &api.GetUser{ID: word}, &u)
		return FoundThing{"user", u.ID}, err
	case "@":
		var u api.Account
		err := s.findBy(ctx, &api.GetUser{Email: foldEmail(word)}, &u)
		return FoundThing{"user", u.ID}, err
	}
	return FoundThing{}, nil
}

func (s *Server) findSKU(ctx context.Context, word string) (found FoundThing, err error) {
	var list api.SKUList
	if err := s.findBy(ctx, &api.GetSKUs{IDs: []string{word}}, &list); err != nil {
		return found, err
	}
	if len(list.SKUs) > 0 {
		found = FoundThing{"sku", list.SKUs[0].ID}
	}
	return found, nil
}

func (s *Server) findTrade(ctx context.Context, word string) (FoundThing, error) {
	var e api.PayLogEntry
	err := s.findBy(ctx, &api.FindTrade{Number: word}, &e)
	return FoundThing{"order", e.Order}, err
}
