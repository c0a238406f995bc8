package user

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ordo/actors"
	"ordo/api"
)

// register makes an account. Row U1.
func register(tx *actors.Tx, m *api.RegisterUser) error {
	if refusal := checkUser(m); refusal != nil {
		return refusal
	}
	id, email, err := lookUp(tx, m)
	switch {
	case err != nil:
		return err
	case email:
		return emailTaken()
	case id:
		return invalid("id", "this id is another user's")
	}
	if err := insertUser(tx, m); err != nil {
		return err
	}
	return tx.Reply(&api.User{ID: m.ID, Email: m.Email, Name: m.Name, Role: m.Role,
		Created: tx.Now()})
}

// makeUsers makes those of many accounts that do not exist yet, all or none.
func makeUsers(tx *actors.Tx, m *api.MakeUsers) error {
	if len(m.Users) == 0 || len(m.Users) > api.MaxUsers {
		return invalid("users", "a message makes 1 to %d users", api.MaxUsers)
	}
	fresh := bulk{ids: map[string]bool{}, emails: map[string]bool{}}
	for i := range m.Users {
		refusal, err := fresh.add(tx, &m.Users[i])
		if err != nil {
			return err
		}
		if refusal != nil {
			return refusal.At(fmt.Sprintf("users[%d].%s", i, refusal.Place))
		}
	}
	for _, u := range fresh.users {
		if err := insertUser(tx, u); err != nil {
			return err
		}
	}
	return nil
}

// bulk is the accounts of one message that are to be made.
type bulk struct {
	users       []*api.RegisterUser
	ids, emails map[string]bool
}

// add checks an account against the database and those before it, and leaves
// it alone when its id exists.
func (b *bulk) add(tx *actors.Tx, u *api.RegisterUser) (*api.Error, error) {
	if refusal := checkUser(u); refusal != nil {
		return refusal, nil
	}
	if u.PasswordHash != "" {
		return invalid("password_hash", "made in bulk, a user has no password"), nil
	}
	id, email, err := lookUp(tx, u)
	switch {
	case err != nil:
		return nil, err
	case id || b.ids[u.ID]:
		return nil, nil
	case email || b.emails[u.Email]:
		return emailTaken(), nil
	}
	b.ids[u.ID], b.emails[u.Email] = true, true
	b.users = append(b.users, u)
	return nil, nil
}

// lookUp tells whether there is a user with this id, and one with this e-mail
// address.
func lookUp(tx *actors.Tx, m *api.RegisterUser) (id, email bool, err error) {
	err = tx.Row(`SELECT EXISTS (SELECT 1 FROM user WHERE id = ?),
		EXISTS (SELECT 1 FROM user WHERE email = ?)`, m.ID, m.Email).Scan(&id, &email)
	return id, email, err
}

func emailTaken() *api.Error {
	return api.Refuse(api.CodeEmailTaken, "another user has this e-mail address").At("email")
}

func insertUser(tx *actors.Tx, m *api.RegisterUser) error {
	_, err := tx.Exec(`INSERT INTO user (id, email, name, role, password_hash, created)
		VALUES (?, ?, ?, ?, ?, ?)`, m.ID, m.Email, m.Name, m.Role, m.PasswordHash, tx.Now())
	return err
}

// changePassword sets the hash and cuts off the sessions that began before.
func changePassword(tx *actors.Tx, m *api.ChangePassword) error {
	if !isPasswordHash(m.PasswordHash) {
		return invalid("password_hash", "this is not an argon2id hash")
	}
	if err := checkExists(tx, m.User); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE user SET password_hash = ? WHERE id = ?`,
		m.PasswordHash, m.User); err != nil {
		return err
	}
	r := api.Revocation{User: m.User, Before: tx.Now()}
	if err := tx.Row(`INSERT INTO revocation (user, before, until) VALUES (?, ?, ?)
		RETURNING seq`, r.User, r.Before, tx.Now().Add(api.MaxSession)).Scan(&r.Seq); err != nil {
		return err
	}
	return tx.Reply(&r)
}

// endSession records the end of one session, once. Row U1.
func endSession(tx *actors.Tx, m *api.EndSession) error {
	if !isHash(m.Session) {
		return invalid("session", "this is not a SHA-256 in hex")
	}
	if m.Until <= 0 {
		return invalid("until", "the session's own end is missing")
	}
	if err := checkExists(tx, m.User); err != nil {
		return err
	}
	r := api.Revocation{User: m.User, Session: m.Session}
	if err := tx.Row(`INSERT INTO revocation (user, session, before, until) VALUES (?, ?, 0, ?)
		ON CONFLICT (session) DO UPDATE SET until = max(until, excluded.until)
		RETURNING seq, user`, r.User, r.Session, min(m.Until, tx.Now().Add(api.MaxSession))).
		Scan(&r.Seq, &r.User); err != nil {
		return err
	}
	return tx.Reply(&r)
}

// saveAddress makes or changes an address and keeps one default. Row U2.
func saveAddress(tx *actors.Tx, m *api.SaveAddress) error {
	a := m.Address
	if refusal := checkAddress(&a); refusal != nil {
		return refusal.At("address." + refusal.Place)
	}
	var users, count, last int64
	var exists, isDefault bool
	if err := tx.Row(`SELECT (SELECT count(*) FROM user WHERE id = ?1), count(*),
		coalesce(max(n), 0), coalesce(max(id = ?2), 0), coalesce(max(id = ?2 AND is_default), 0)
		FROM address WHERE user = ?1`, m.User, a.ID).
		Scan(&users, &count, &last, &exists, &isDefault); err != nil {
		return err
	}
	switch {
	case users == 0:
		return noUser()
	case a.ID != "" && !exists:
		return noAddress()
	case !exists && count >= api.MaxAddresses:
		return api.Refuse(api.CodeLimitExceeded, "a user has at most %d addresses",
			api.MaxAddresses).At("address")
	}
	if !exists {
		a.ID = tx.NewID(api.PrefixAddress)
	}
	a.Default = a.Default || isDefault || count == 0
	if err := writeAddress(tx, m.User, &a, last+1); err != nil {
		return err
	}
	return tx.Reply(&a)
}

// writeAddress sets an address, which keeps its n when it has one, and takes
// the default from the others when it is to be the default.
func writeAddress(tx *actors.Tx, user string, a *api.Address, n int64) error {
	if a.Default {
		if _, err := tx.Exec(`UPDATE address SET is_default = 0
			WHERE user = ? AND is_default = 1 AND id <> ?`, user, a.ID); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`INSERT INTO address
		(user, id, n, name, phone, lines, city, postcode, country, is_default)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET name = excluded.name, phone = excluded.phone,
			lines = excluded.lines, city = excluded.city, postcode = excluded.postcode,
			country = excluded.country, is_default = excluded.is_default`,
		user, a.ID, n, a.Name, a.Phone, string(api.Raw(a.Lines)), a.City, a.Postcode, a.Country,
		a.Default)
	return err
}

// deleteAddress removes an address; the oldest of the others inherits the
// default. Row U2.
func deleteAddress(tx *actors.Tx, m *api.DeleteAddress) error {
	var wasDefault bool
	err := tx.Row(`DELETE FROM address WHERE user = ? AND id = ? RETURNING is_default`,
		m.User, m.Address).Scan(&wasDefault)
	if errors.Is(err, actors.ErrNoRows) {
		return noAddress()
	}
	if err != nil || !wasDefault {
		return err
	}
	_, err = tx.Exec(`UPDATE address SET is_default = 1 WHERE user = ?1
		AND n = (SELECT min(n) FROM address WHERE user = ?1)`, m.User)
	return err
}

// forgetRevocations drops what no living session can be meant by.
func forgetRevocations(tx *actors.Tx) (more bool, err error) {
	n, err := tx.Exec(`DELETE FROM revocation WHERE seq IN
		(SELECT seq FROM revocation WHERE until <= ? ORDER BY until LIMIT +?)`,
		tx.Now(), actors.SweepLimit)
	return n == actors.SweepLimit, err
}

// checkExists refuses with CodeNotFound when there is no such user.
func checkExists(tx *actors.Tx, user string) error {
	var exists bool
	err := tx.Row(`SELECT EXISTS (SELECT 1 FROM user WHERE id = ?)`, user).Scan(&exists)
	if err == nil && !exists {
		return noUser()
	}
	return err
}

func noUser() *api.Error { return api.Refuse(api.CodeNotFound, "there is no such user").At("user") }

func noAddress() *api.Error {
	return api.Refuse(api.CodeNotFound, "there is no such address").At("address")
}

func invalid(place, format string, args ...any) *api.Error {
	return api.Refuse(api.CodeInvalid, format, args...).At(place)
}

func checkUser(m *api.RegisterUser) *api.Error {
	switch {
	case !isUserID(m.ID):
		return invalid("id", "this is not a user's id")
	case !isEmail(m.Email):
		return invalid("email", "this is not an e-mail address in lower case")
	case !isText(m.Name, 0, 100):
		return invalid("name", "a name is one line of at most 100 characters")
	case m.Role != api.RoleShopper && m.Role != api.RoleSupport && m.Role != api.RoleAdmin:
		return invalid("role", "there is no role %q", m.Role)
	case m.PasswordHash != "" && !isPasswordHash(m.PasswordHash):
		return invalid("password_hash", "this is not an argon2id hash")
	}
	return nil
}

func checkAddress(a *api.Address) *api.Error {
	switch {
	case !isText(a.Name, 1, 100):
		return invalid("name", "a name is one line of 1 to 100 characters")
	case !isText(a.Phone, 3, 30):
		return invalid("phone", "a phone number has 3 to 30 characters")
	case len(a.Lines) < 1 || len(a.Lines) > 5:
		return invalid("lines", "an address has 1 to 5 lines")
	case !isText(a.City, 1, 100):
		return invalid("city", "a city has 1 to 100 characters")
	case !isText(a.Postcode, 0, 20):
		return invalid("postcode", "a postcode has at most 20 characters")
	case len(a.Country) != 2 || !isOf(a.Country, 'A', 'Z', ""):
		return invalid("country", "a country is a code of two capital letters (ISO 3166)")
	}
	for i, line := range a.Lines {
		if !isText(line, 1, 200) {
			return invalid(fmt.Sprintf("lines[%d]", i), "a line has 1 to 200 characters")
		}
	}
	return nil
}

// isText tells whether s is one printable line of least to most characters and
// not only blanks.
func isText(s string, least, most int) bool {
	n := utf8.RuneCountInString(s)
	return n >= least && n <= most && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, unicode.IsControl) &&
		(n == 0 || strings.TrimSpace(s) != "")
}

func isEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	return ok && local != "" && domain != "" && !strings.Contains(domain, "@") &&
		isText(s, 3, 254) && s == strings.ToLower(s) && !strings.ContainsFunc(s, unicode.IsSpace)
}

func isUserID(s string) bool {
	body, ok := strings.CutPrefix(s, api.PrefixUser+"_")
	return ok && body != "" && len(body) <= 60 && !strings.ContainsFunc(body, func(r rune) bool {
		return !isOf(string(r), 'A', 'Z', "") && !isOf(string(r), 'a', 'z', "0123456789_-")
	})
}

func isPasswordHash(s string) bool {
	return len(s) <= 255 && strings.HasPrefix(s, "$argon2id$") && isText(s, 1, 255)
}

func isHash(s string) bool { return len(s) == 64 && isOf(s, '0', '9', "abcdef") }

// isOf tells whether all characters of s are from first to last or in more.
func isOf(s string, first, last rune, more string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < first || r > last) && !strings.ContainsRune(more, r)
	})
}
