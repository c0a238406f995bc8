package api

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxCode is the longest code of a SKU, product or course, in bytes.
const MaxCode = 64

// IsCode tells whether s is a code of the shop's own: 1 to MaxCode plain
// characters. What JSON would write in more than one byte is left out.
func IsCode(s string) bool {
	if len(s) < 1 || len(s) > MaxCode || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			return false
		}
	}
	return true
}

// IsText tells whether s is one line of at most limit characters.
func IsText(s string, limit int) bool {
	return len(s) <= limit*utf8.UTFMax && utf8.RuneCountInString(s) <= limit &&
		utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// IsName is IsText for what must not be blank.
func IsName(s string, limit int) bool {
	return IsText(s, limit) && strings.TrimSpace(s) != ""
}

// MaxBy is the longest name of who has something done, in bytes: a user's id, or
// what an operator without one is called.
const MaxBy = 64

// CheckBy refuses with CodeInvalid what is no such name. It may be empty.
func CheckBy(by string) error {
	if len(by) > MaxBy || !IsText(by, MaxBy) {
		return Refuse(CodeInvalid, "needs one line of at most %d bytes", MaxBy).At("by")
	}
	return nil
}
