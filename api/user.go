package api

import "time"

// Roles of a user. Row U4.
const (
	RoleShopper = "shopper"
	RoleSupport = "support"
	RoleAdmin   = "admin"
)

// Limits of users.
const (
	// MaxUsers is the most accounts one MakeUsers may have.
	MaxUsers = 500
	// MaxAddresses is the most addresses of one user.
	MaxAddresses = 50
	// MaxRevocations is the most items of one RevocationList.
	MaxRevocations = 1000
	// MaxSession is the longest that a session may last: revocations are not
	// kept any longer.
	MaxSession = 30 * 24 * time.Hour
)

// User is an account.
type User struct {
	// ID is usr_ and 1 to 60 letters, digits, _ or -.
	ID    string `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name"`
	// Role is one of the Role constants.
	Role    string `json:"role"`
	Created Time   `json:"created"`
}

// RegisterUser makes an account. Refusals: CodeEmailTaken, CodeInvalid. The
// outcome is the User. From edges only.
type RegisterUser struct {
	// ID is minted by the edge, see User.
	ID string `json:"id"`
	// Email is lower case, 3 to 254 characters.
	Email string `json:"email"`
	// Name is at most 100 characters.
	Name string `json:"name"`
	Role string `json:"role"`
	// PasswordHash is the argon2id hash in PHC form, made at the edge; empty
	// for an account that can't log in by password.
	PasswordHash string `json:"password_hash,omitempty"`
}

// Route implements Message.
func (*RegisterUser) Route() Route { return Route{"user", "register"} }

// MakeUsers makes many accounts without passwords, all or none, at most
// MaxUsers a message; an id that exists already is left alone. Refusals:
// CodeEmailTaken, CodeInvalid. From edges only.
type MakeUsers struct {
	Users []RegisterUser `json:"users"`
}

// Route implements Message.
func (*MakeUsers) Route() Route { return Route{"user", "make"} }

// ChangePassword sets a new password hash and ends all sessions that began
// before. Refusals: CodeNotFound, CodeInvalid. The outcome is the Revocation.
// From edges only.
type ChangePassword struct {
	User         string `json:"user"`
	PasswordHash string `json:"password_hash"`
}

// Route implements Message.
func (*ChangePassword) Route() Route { return Route{"user", "change-password"} }

// EndSession records that a session has ended before its time, so that no copy
// of it is believed again; told twice, it is recorded once. Refusals:
// CodeNotFound for the user, CodeInvalid. The outcome is the Revocation. From
// edges only.
type EndSession struct {
	User string `json:"user"`
	// Session is the SHA-256 of the session token, in hex.
	Session string `json:"session"`
	// Until is when the session would have expired; the record is kept until
	// then, at most MaxSession.
	Until Time `json:"until"`
}

// Route implements Message.
func (*EndSession) Route() Route { return Route{"user", "end-session"} }

// Address is where an order goes. Row U2.
type Address struct {
	// ID is minted by the user actor.
	ID string `json:"id"`
	// Name is the consignee, 1 to 100 characters.
	Name string `json:"name"`
	// Phone is 3 to 30 characters.
	Phone string `json:"phone"`
	// Lines are street and number, 1 to 5 lines of at most 200 characters.
	Lines []string `json:"lines"`
	// City is 1 to 100 characters.
	City string `json:"city"`
	// Postcode is at most 20 characters.
	Postcode string `json:"postcode,omitempty"`
	// Country is an ISO 3166 alpha-2 code.
	Country string `json:"country"`
	Default bool   `json:"default"`
}

// SaveAddress makes an address of a user, or changes the one that Address.ID
// names when it is not empty. The first one becomes the default; saving one as
// default takes it from the others, and the default stays the default until
// then. Refusals: CodeNotFound for the user or the address, CodeInvalid,
// CodeLimitExceeded over MaxAddresses. The outcome is the Address. From edges
// only.
type SaveAddress struct {
	User    string  `json:"user"`
	Address Address `json:"address"`
}

// Route implements Message.
func (*SaveAddress) Route() Route { return Route{"user", "save-address"} }

// DeleteAddress removes an address; the default passes on to the oldest of the
// others. CodeNotFound. From edges only.
type DeleteAddress struct {
	User    string `json:"user"`
	Address string `json:"address"`
}

// Route implements Message.
func (*DeleteAddress) Route() Route { return Route{"user", "delete-address"} }

// GetUser asks for a user by id or, when ID is empty, by e-mail address;
// CodeNotFound. The answer is an Account.
type GetUser struct {
	ID    string `json:"id,omitempty"`
	Email string `json:"email,omitempty"`
}

// Endpoint implements Query.
func (*GetUser) Endpoint() Route { return Route{"user", "user"} }

// Account answers GetUser. It is for the edge and never leaves it.
type Account struct {
	User
	PasswordHash string `json:"password_hash,omitempty"`
}

// ListAddresses asks for all addresses of a user, the default first. The
// answer is an AddressList.
type ListAddresses struct {
	User string `json:"user"`
}

// Endpoint implements Query.
func (*ListAddresses) Endpoint() Route { return Route{"user", "addresses"} }

// AddressList answers ListAddresses.
type AddressList struct {
	Addresses []Address `json:"items"`
}

// ListRevocations asks for the sessions ended before their time, in the order
// in which they were. The answer is a RevocationList.
type ListRevocations struct {
	// After is the Seq of the last one known.
	After int64 `json:"after"`
}

// Endpoint implements Query.
func (*ListRevocations) Endpoint() Route { return Route{"user", "revocations"} }

// Revocation ends one session, or all of a user that began before a moment.
type Revocation struct {
	Seq  int64  `json:"seq"`
	User string `json:"user"`
	// Session is the SHA-256 of the token in hex; empty for all of the user.
	Session string `json:"session,omitempty"`
	// Before bounds the sessions meant when Session is empty.
	Before Time `json:"before,omitempty"`
}

// RevocationList answers ListRevocations; at most MaxRevocations at a time.
type RevocationList struct {
	Revocations []Revocation `json:"items"`
}
