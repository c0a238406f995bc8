package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ordo/api"
)

// CouponCmd looks after the coupons of a running shop.
type CouponCmd struct {
	Issue CouponIssueCmd `cmd:"" help:"Give a coupon to each of some users."`
	Ls    CouponLsCmd    `cmd:"" help:"List a user's coupons, newest first."`
}

// CouponIssueCmd gives coupons.
type CouponIssueCmd struct {
	Remote
	User     []string      `help:"Ids or e-mail addresses of users." placeholder:"USER"`
	Users    string        `help:"File with a user a line." placeholder:"FILE" type:"path"`
	Name     string        `help:"What shoppers see." required:"" placeholder:"TEXT"`
	Amount   string        `help:"What it takes off, as 5.00." required:"" placeholder:"MONEY"`
	Minimum  string        `help:"What the goods must cost at least." default:"0" placeholder:"MONEY"`
	Currency string        `help:"The shop's currency." default:"GBP"`
	From     time.Time     `help:"First moment it is good, RFC 3339; if not said, when today began in UTC." placeholder:"TIME"`
	For      time.Duration `help:"How long it is good." default:"720h"`
	Key      string        `help:"Idempotency key: with the same one it happens once." placeholder:"KEY"`
	JSON     bool          `name:"json" help:"Print a line of JSON for each coupon."`
}

// maxCouponTime is the longest that a coupon may be good.
const maxCouponTime = 10 * 365 * 24 * time.Hour

// Validate refuses what the shop would.
func (c *CouponIssueCmd) Validate() error {
	errs := []error{checkCurrency(c.Currency), within("for", c.For, time.Second, maxCouponTime)}
	for flag, text := range map[string]string{"amount": c.Amount, "minimum": c.Minimum} {
		if _, err := api.ParseMoney(text, c.Currency); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	if (len(c.User) == 0) == (c.Users == "") {
		errs = append(errs, errors.New("one of --user and --users is needed"))
	}
	return errors.Join(errs...)
}

// Run looks up all users before it gives any of them a coupon.
func (c *CouponIssueCmd) Run(ctx context.Context, t *terminal) error {
	users, err := c.users(ctx)
	if err != nil {
		return err
	}
	amount, _ := api.ParseMoney(c.Amount, c.Currency)   // Validate has
	minimum, _ := api.ParseMoney(c.Minimum, c.Currency) // parsed both
	from := c.From
	if from.IsZero() { // the same when it is said again
		from = time.Now().UTC().Truncate(24 * time.Hour)
	}
	coupons := make([]newCoupon, len(users))
	for i, u := range users {
		coupons[i] = newCoupon{User: u, Name: c.Name, Amount: amount, Minimum: minimum,
			From: api.TimeOf(from), Until: api.TimeOf(from.Add(c.For))}
	}
	shop := admin{newClient(c.Server, 1), c.AdminToken}
	key := or(c.Key, api.NewID("cli"))
	ids, err := shop.coupons(ctx, key, coupons)
	if err != nil {
		return fmt.Errorf("coupon: %w", undecided(err, key))
	}
	type issued struct {
		ID   string `json:"id"`
		User string `json:"user"`
	}
	all := make([]issued, len(ids))
	for i := range ids {
		all[i] = issued{ids[i], users[i]}
	}
	if c.JSON {
		return printLines(t.Out, all)
	}
	for _, one := range all {
		if _, err := fmt.Fprintf(t.Out, "%s  %s\n", one.ID, one.User); err != nil {
			return err
		}
	}
	return nil
}

// users are the ids of those who get one.
func (c *CouponIssueCmd) users(ctx context.Context) ([]string, error) {
	names, err := c.names()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: %s names nobody", errUnreadable, c.Users)
	}
	var ids, unknown []string
	for _, name := range names {
		var u api.User
		err := c.ask(ctx, http.MethodGet, "/users/"+url.PathEscape(name), nil, &u)
		switch {
		case refusedWith(err, api.CodeNotFound):
			unknown = append(unknown, name)
		case err != nil:
			return nil, fmt.Errorf("coupon: %w", err)
		case !slices.Contains(ids, u.ID): // who is named twice gets one
			ids = append(ids, u.ID)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("coupon: there are no users %s; nobody was given any",
			strings.Join(unknown[:min(len(unknown), 20)], ", "))
	}
	return ids, nil
}

// names are the ids and e-mail addresses of flags and file.
func (c *CouponIssueCmd) names() ([]string, error) {
	names := c.User
	if c.Users == "" {
		return names, nil
	}
	f, err := os.Open(c.Users)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			names = append(names, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUnreadable, c.Users, err)
	}
	return names, nil
}

// CouponLsCmd lists coupons.
type CouponLsCmd struct {
	Remote
	User  string `arg:"" help:"Id or e-mail address of the user."`
	Limit int    `help:"Most coupons." default:"50"`
	JSON  bool   `name:"json" help:"Print a line of JSON for each coupon."`
}

// Validate refuses what the API would.
func (c *CouponLsCmd) Validate() error { return within("limit", c.Limit, 1, api.MaxPage) }

// Run implements the command.
func (c *CouponLsCmd) Run(ctx context.Context, t *terminal) error {
	var u api.User
	err := c.ask(ctx, http.MethodGet, "/users/"+url.PathEscape(c.User), nil, &u)
	var list api.CouponList
	if err == nil {
		q := url.Values{"user": {u.ID}, "limit": {strconv.Itoa(c.Limit)}}
		err = c.ask(ctx, http.MethodGet, "/coupons?"+q.Encode(), nil, &list)
	}
	if err != nil {
		return fmt.Errorf("coupon: %w", err)
	}
	if c.JSON {
		return printLines(t.Out, list.Coupons)
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COUPON\tSTATE\tAMOUNT\tMINIMUM\tUNTIL\tBY\tNAME") // w keeps its error
	for i := range list.Coupons {
		p := &list.Coupons[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.ID, p.State, p.Amount, p.Minimum,
			p.ValidUntil.Std().UTC().Format(time.RFC3339), or(p.By, "-"), p.Name)
	}
	return w.Flush()
}
