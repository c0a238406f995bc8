package api

import (
	"fmt"
	"strconv"
	"time"
)

// Time is a moment in nanoseconds since 1970 UTC, as it stands in the
// databases; its JSON is RFC 3339 in UTC. The zero Time is null in JSON and
// means never.
type Time int64

// TimeOf is the Time of t; 0 for the zero time.
func TimeOf(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixNano())
}

// Std is the time as the standard library has it, in UTC.
func (t Time) Std() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(t)).UTC()
}

// Add is t moved by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// MarshalJSON writes RFC 3339 with as many decimals as needed, or null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t == 0 {
		return []byte("null"), nil
	}
	b := make([]byte, 0, 36)
	b = append(b, '"')
	b = t.Std().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"'), nil
}

// UnmarshalJSON reads what MarshalJSON writes; any offset is accepted.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = 0
		return nil
	}
	s, err := strconv.Unquote(string(b))
	if err != nil {
		return fmt.Errorf("api: time %s: %w", b, err)
	}
	std, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	if std.Year() < 1678 || std.Year() > 2261 {
		return fmt.Errorf("api: time %s is not between 1678 and 2261", s)
	}
	*t = TimeOf(std)
	return nil
}
