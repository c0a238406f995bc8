package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ordo/api"
)

func (s *Server) adminRoutes() {
	s.importRoutes()
	route(s, s.op("receive-stock", "POST /admin/v1/stock/receive", admins,
		"Units that came into the house"), s.receiveStock)
	route(s, s.op("adjust-stock", "POST /admin/v1/stock/adjust", admins,
		"Correct the stock by a difference"), s.adjustStock)
	route(s, s.op("list-stock-ledger", "GET /admin/v1/stock/ledger", admins,
		"Every change of a SKU's stock, newest first"), s.listStockLedger)
	route(s, s.op("issue-coupons", "POST /admin/v1/coupons", admins,
		"Give coupons to users, all or none"), s.issueCoupons)
	route(s, s.op("credit-wallet", "POST /admin/v1/wallets/credit", admins,
		"Put money or points into a wallet"), s.creditWallet)
	route(s, s.op("make-users", "POST /admin/v1/users", admins,
		"Make users with a session each; those who exist stay as they are"), s.makeUsers)
	route(s, s.op("get-any-user", "GET /admin/v1/users/{id}", support,
		"A user by id or e-mail address"), s.getAnyUser)
	route(s, s.op("set-password", "PUT /admin/v1/users/{id}/password", admins,
		"Set the password of a user with a role, and end all sessions of that user"),
		s.setPassword)
	route(s, s.op("list-any-coupons", "GET /admin/v1/coupons", support,
		"A user's coupons, newest first"), s.listAnyCoupons)
	route(s, s.op("list-all-orders", "GET /admin/v1/orders", support,
		"Orders of all users, newest first"), s.listAllOrders)
	route(s, s.op("get-any-order", "GET /admin/v1/orders/{id}", support, "Anybody's order"),
		s.getAnyOrder)
	route(s, s.op("list-steps", "GET /admin/v1/orders/{id}/steps", support,
		"The steps of an order, with attempts and refusals"), s.listSteps)
	route(s, s.op("cancel-any-order", "POST /admin/v1/orders/{id}/cancel", support,
		"Cancel an order with a reason"), s.cancelAnyOrder)
	route(s, s.op("list-dead", "GET /admin/v1/dead", support,
		"Messages that an actor could not handle, newest first"), s.listDead)
	route(s, s.op("get-dead", "GET /admin/v1/dead/{actor}/{n}", support,
		"A dead letter with all of its error"), s.getDead)
	route(s, s.op("settle-dead", "POST /admin/v1/dead/{actor}/{n}/{what}", support,
		"Send a dead letter again, or dismiss it"), s.settleDead)
	route(s, s.op("get-audit", "GET /admin/v1/audit", support,
		"What the standing audit finds not to add up, a thousand at most"), s.getAudit)
	route(s, s.op("list-journal", "GET /admin/v1/journal", support,
		"Events about orders, oldest first"), s.listJournal)
}

type receiveInput struct {
	Idempotent
	Body struct {
		SKU      string `json:"sku" minLength:"1" maxLength:"64"`
		Quantity int64  `json:"quantity" minimum:"1" maximum:"1000000"`
		Reason   string `json:"reason,omitempty" maxLength:"200"`
	}
}

// receiveStock is row C8.
func (s *Server) receiveStock(ctx context.Context, in *receiveInput) (*none, error) {
	m := &api.ReceiveStock{SKU: in.Body.SKU, Quantity: in.Body.Quantity, Reason: in.Body.Reason,
		By: callerOf(ctx).User}
	return nil, s.do(ctx, in.messageID(ctx, "receive"), m, nil)
}

type adjustInput struct {
	Idempotent
	Body struct {
		SKU        string `json:"sku" minLength:"1" maxLength:"64"`
		Difference int64  `json:"difference" minimum:"-1000000" maximum:"1000000"`
		Reason     string `json:"reason" minLength:"1" maxLength:"200"`
	}
}

func (s *Server) adjustStock(ctx context.Context, in *adjustInput) (*none, error) {
	if in.Body.Difference == 0 {
		return nil, api.Refuse(api.CodeInvalid, "a difference is not 0").At("difference")
	}
	m := &api.AdjustStock{SKU: in.Body.SKU, Difference: in.Body.Difference,
		Reason: in.Body.Reason, By: callerOf(ctx).User}
	return nil, s.do(ctx, in.messageID(ctx, "adjust"), m, nil)
}

type ledgerInput struct {
	PageQuery
	SKU string `query:"sku" required:"true" minLength:"1" maxLength:"64"`
}

// listStockLedger is row C7.
func (s *Server) listStockLedger(ctx context.Context, in *ledgerInput) (
	*answer[passed[api.StockLedger]], error) {
	return pass[api.StockLedger](ctx, s, &api.ListStockLedger{Page: in.page(), SKU: in.SKU})
}

type couponsInput struct {
	Idempotent
	Body struct {
		Coupons []newCoupon `json:"coupons" minItems:"1" maxItems:"500"`
	}
}

type newCoupon struct {
	ID      string    `json:"id,omitempty" maxLength:"64" doc:"A cpn_ id; minted when there is none."`
	User    string    `json:"user" minLength:"1" maxLength:"64"`
	Name    string    `json:"name" minLength:"1" maxLength:"100"`
	Amount  api.Money `json:"amount"`
	Minimum api.Money `json:"minimum,omitzero" doc:"The least the goods must cost."`
	From    api.Time  `json:"valid_from"`
	Until   api.Time  `json:"valid_until"`
	// State is what lists of coupons have as well; a new one is open.
	State string `json:"state,omitempty" enum:",open" doc:"Ignored: a new coupon is open."`
}

// couponsIssued are the coupons as they were given.
type couponsIssued struct {
	Coupons []api.Coupon `json:"items"`
}

func (s *Server) issueCoupons(ctx context.Context, in *couponsInput) (
	*created[couponsIssued], error) {
	if err := s.checkCoupons(ctx, in.Body.Coupons); err != nil {
		return nil, err
	}
	id := in.messageID(ctx, "coupons")
	m := &api.IssueCoupons{Coupons: make([]api.Coupon, len(in.Body.Coupons)),
		By: callerOf(ctx).User}
	for i, c := range in.Body.Coupons {
		if c.ID == "" {
			// From the message's id, so that a repeat issues the same ones.
			c.ID = api.DeriveID(api.PrefixCoupon, c.From.Std(), fmt.Sprintf("%s/%d", id, i))
		}
		m.Coupons[i] = api.Coupon{ID: c.ID, User: c.User, Name: c.Name, Amount: c.Amount,
			Minimum: c.Minimum, ValidFrom: c.From, ValidUntil: c.Until, State: api.CouponOpen,
			By: m.By}
	}
	if err := s.do(ctx, id, m, nil); err != nil {
		return nil, err
	}
	return &created[couponsIssued]{http.StatusCreated, couponsIssued{m.Coupons}}, nil
}

// checkCoupons checks what the coupon actor does not know: the shop's currency
// and users.
func (s *Server) checkCoupons(ctx context.Context, coupons []newCoupon) error {
	first := map[string]int{}
	var users []string
	for i, c := range coupons {
		if c.Amount.Currency != s.Currency {
			return s.foreign(fmt.Sprintf("coupons[%d].amount.currency", i))
		}
		if c.Minimum != (api.Money{}) && c.Minimum.Currency != s.Currency {
			return s.foreign(fmt.Sprintf("coupons[%d].minimum.currency", i))
		}
		if _, known := first[c.User]; !known {
			first[c.User] = i
			users = append(users, c.User)
		}
	}
	return each(len(users), func(i int) error {
		return s.checkUser(ctx, users[i], fmt.Sprintf("coupons[%d].user", first[users[i]]))
	})
}

func (s *Server) foreign(place string) error {
	return api.Refuse(api.CodeInvalid, "the shop's currency is %s", s.Currency).At(place)
}

// checkUser refuses with CodeNotFound when there is no such user.
func (s *Server) checkUser(ctx context.Context, id, place string) error {
	var known api.Account
	err := s.Edge.Ask(ctx, &api.GetUser{ID: id}, &known)
	if is(err, api.CodeNotFound) {
		return api.Refuse(api.CodeNotFound, "there is no such user").At(place)
	}
	return err
}

type creditInput struct {
	Idempotent
	Body struct {
		User   string    `json:"user" minLength:"1" maxLength:"64"`
		Amount api.Money `json:"amount" doc:"Points have the currency POINT."`
		Reason string    `json:"reason" minLength:"1" maxLength:"200"`
	}
}

func (s *Server) creditWallet(ctx context.Context, in *creditInput) (
	*answer[passed[api.Wallet]], error) {
	if c := in.Body.Amount.Currency; c != s.Currency && c != api.UnitPoint {
		return nil, s.foreign("amount.currency")
	}
	if err := s.checkUser(ctx, in.Body.User, "user"); err != nil {
		return nil, err
	}
	m := &api.Credit{User: in.Body.User, Amount: in.Body.Amount, Reason: in.Body.Reason,
		By: callerOf(ctx).User}
	if err := s.do(ctx, in.messageID(ctx, "credit"), m, nil); err != nil {
		return nil, err
	}
	return pass[api.Wallet](ctx, s, s.walletOf(m.User))
}

type usersInput struct {
	Body struct {
		Users []newUser `json:"users" minItems:"1" maxItems:"500"`
	}
}

type newUser struct {
	ID    string `json:"id,omitempty" maxLength:"64" doc:"Derived from the e-mail if none."`
	Email string `json:"email" minLength:"3" maxLength:"254"`
	Name  string `json:"name,omitempty" maxLength:"100"`
	Role  string `json:"role,omitempty" enum:"shopper,support,admin" doc:"shopper if not said."`
}

// usersMade are users with a session each.
type usersMade struct {
	Users []userMade `json:"items"`
}

type userMade struct {
	ID      string   `json:"id"`
	Email   string   `json:"email"`
	Token   string   `json:"token"`
	Expires api.Time `json:"expires_at"`
}

// atOnce is how many questions of one request are asked at the same time.
const atOnce = 16

// each does something for each of n, atOnce at the same time, and returns an
// error of the first part of them that has one.
func each(n int, do func(i int) error) error {
	var work []func() error
	for part := range min(n, atOnce) {
		work = append(work, func() error {
			for i := part; i < n; i += atOnce {
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return together(work...)
}

// makeUsers makes the same users again when it is sent again, with new
// sessions.
func (s *Server) makeUsers(ctx context.Context, in *usersInput) (*created[usersMade], error) {
	m := &api.MakeUsers{Users: make([]api.RegisterUser, len(in.Body.Users))}
	for i, u := range in.Body.Users {
		m.Users[i] = u.user()
	}
	// The same list may be sent after more than the memory of message ids, or
	// after the users were lost, so the id is fresh.
	if err := s.do(ctx, api.NewID("users"), m, nil); err != nil {
		return nil, err
	}
	out := usersMade{make([]userMade, len(m.Users))}
	err := each(len(m.Users), func(i int) error {
		// One who was there keeps the role and the address of the account.
		var known api.Account
		if err := s.Edge.Ask(ctx, &api.GetUser{ID: m.Users[i].ID}, &known); err != nil {
			return err
		}
		token, sess, err := s.Sessions.Create(ctx, known.ID, known.Role)
		out.Users[i] = userMade{known.ID, known.Email, token, sess.Expires}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &created[usersMade]{http.StatusCreated, out}, nil
}

type anyUserInput struct {
	ID string `path:"id" minLength:"1" maxLength:"254" doc:"The user's id, or e-mail address."`
}

func (s *Server) getAnyUser(ctx context.Context, in *anyUserInput) (*answer[api.User], error) {
	known, err := s.anyAccount(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &answer[api.User]{known.User}, nil
}

// anyAccount finds a user by id or e-mail address.
func (s *Server) anyAccount(ctx context.Context, id string) (known api.Account, err error) {
	q := &api.GetUser{ID: id}
	if strings.Contains(id, "@") {
		q = &api.GetUser{Email: foldEmail(id)}
	}
	err = s.Edge.Ask(ctx, q, &known)
	return known, err
}

type setPasswordInput struct {
	ID   string `path:"id" minLength:"1" maxLength:"254" doc:"The user's id, or e-mail address."`
	Body struct {
		New string `json:"new_password" minLength:"8" maxLength:"200"`
	}
}

// setPassword lets a supporter or an admin log in, who are made without a password.
// Shoppers have their own.
func (s *Server) setPassword(ctx context.Context, in *setPasswordInput) (*none, error) {
	known, err := s.anyAccount(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if known.Role == api.RoleShopper {
		return nil, api.Refuse(api.CodeForbidden, "a shopper's password is the shopper's own")
	}
	ended, err := s.writePassword(ctx, known.ID, in.Body.New)
	if err != nil {
		return nil, err
	}
	s.Sessions.Revoke(ended)
	s.log.Info("password set by an admin", "user", known.ID, "by", callerOf(ctx).User)
	return nil, nil
}

type anyCouponsInput struct {
	PageQuery
	User string `query:"user" required:"true" minLength:"1" maxLength:"64" doc:"The user's id."`
}

func (s *Server) listAnyCoupons(ctx context.Context, in *anyCouponsInput) (
	*answer[passed[api.CouponList]], error) {
	return pass[api.CouponList](ctx, s, &api.ListCoupons{Page: in.page(), User: in.User})
}

func (u *newUser) user() api.RegisterUser {
	r := api.RegisterUser{ID: u.ID, Email: foldEmail(u.Email), Name: u.Name, Role: u.Role}
	if r.Role == "" {
		r.Role = api.RoleShopper
	}
	if r.ID == "" {
		sum := sha256.Sum256([]byte(r.Email))
		r.ID = api.DeriveID(api.PrefixUser, time.Unix(0, 0), hex.EncodeToString(sum[:]))
	}
	return r
}

type allOrdersInput struct {
	PageQuery
	User  string `query:"user" maxLength:"64"`
	State string `query:"state" enum:"pending,placed,paid,refused,closing,cancelled"`
}

func (s *Server) listAllOrders(ctx context.Context, in *allOrdersInput) (
	*answer[passed[api.OrderList]], error) {
	return pass[api.OrderList](ctx, s,
		&api.ListOrders{Page: in.page(), User: in.User, State: in.State})
}

func (s *Server) getAnyOrder(ctx context.Context, in *ByID) (
	*answer[passed[api.Order]], error) {
	return pass[api.Order](ctx, s, &api.GetOrder{ID: in.ID})
}

// listSteps is row M7.
func (s *Server) listSteps(ctx context.Context, in *ByID) (
	*answer[passed[api.StepList]], error) {
	return pass[api.StepList](ctx, s, &api.GetSteps{Order: in.ID})
}

type cancelAnyInput struct {
	ByID
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500"`
	}
}

// cancelAnyOrder is row E4 for support.
func (s *Server) cancelAnyOrder(ctx context.Context, in *cancelAnyInput) (
	*answer[passed[api.Order]], error) {
	m := &api.CancelOrder{Order: in.ID, By: callerOf(ctx).User, Reason: in.Body.Reason}
	out, err := s.cancel(ctx, m)
	s.log.Info("order cancelled by support", "order", m.Order, "by", m.By, "reason",
		api.MaskText(m.Reason), "err", err)
	return out, err
}

type journalInput struct {
	PageQuery
	Order string `query:"order" maxLength:"64"`
	Type  string `query:"type" maxLength:"64" doc:"For example order.placed."`
	NewestFirst
}

// NewestFirst turns a list around; embed it in an input.
type NewestFirst struct {
	Newest bool `query:"newest" doc:"The newest first."`
}

// listJournal is row L4.
func (s *Server) listJournal(ctx context.Context, in *journalInput) (
	*answer[passed[api.Journal]], error) {
	return pass[api.Journal](ctx, s,
		&api.ListJournal{Page: in.page(), Order: in.Order, Type: in.Type, Newest: in.Newest})
}
