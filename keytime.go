package onceguard

import (
	"strings"
	"time"
)

// A part is taken for a UUIDv7 or ULID only if its time lies in this fixed
// window. No clock is asked: what a key carries must not depend on the host or
// the day. The window keeps most look-alikes (random 26-letter texts) out.
var (
	firstIssue = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	lastIssue  = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// IssuedAt returns the time the key carries, in UTC: the one given to
// [Key.WithIssuedAt], or else that of its only part if that is exactly a
// UUIDv7 (RFC 9562) or a ULID between the years 2020 and 2100, to the
// millisecond. A key older than the identity retention is Expired and never
// runs, because its receipt may be gone.
//
// Keys of several parts carry no time by themselves: an id beside a month or a
// try is that of something which outlives the intention, such as a customer.
// Give the time of the occasion by WithIssuedAt where there is one, also where
// a single id is much older than what is asked for (a refund years later).
func (k Key) IssuedAt() (time.Time, bool) {
	if !k.issued.IsZero() {
		return k.issued, true
	}
	parts := k.Parts()
	if len(parts) != 1 {
		return time.Time{}, false
	}
	ms, ok := uuidTime(parts[0].Value)
	if !ok {
		ms, ok = ulidTime(parts[0].Value)
	}
	t := time.UnixMilli(ms).UTC()
	if !ok || t.Before(firstIssue) || !t.Before(lastIssue) {
		return time.Time{}, false
	}
	return t, true
}

// WithIssuedAt returns the key with the time at which its intention arose,
// such as a webhook's event time. It must be the same on every retry and never
// the present time of a try. It is no part of the identity and is not encoded.
// A zero time, or one from 2100 on (milliseconds taken for seconds), is an
// error that [Key.Err] keeps.
func (k Key) WithIssuedAt(t time.Time) Key {
	if k.Err() != nil {
		return k
	}
	if t.IsZero() {
		return badKey("", "WithIssuedAt was given the zero time", "give the event's own time, or leave WithIssuedAt out")
	}
	if !t.Before(lastIssue) {
		return badKey("", "WithIssuedAt was given the year "+t.UTC().Format("2006"), "give the event's own time; a Unix time in milliseconds needs time.UnixMilli")
	}
	k.issued = t.Round(0).UTC()
	return k
}

// uuidTime reads the milliseconds of a UUIDv7 in its 36-character text form.
func uuidTime(s string) (ms int64, ok bool) {
	if len(s) != 36 {
		return 0, false
	}
	digits := 0
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return 0, false
			}
			continue
		}
		d := strings.IndexByte("0123456789abcdef", s[i]|0x20)
		if d < 0 || s[i] < '0' {
			return 0, false
		}
		if digits < 12 {
			ms = ms<<4 | int64(d)
		}
		digits++
	}
	variant := s[19] | 0x20
	if s[14] != '7' || variant != '8' && variant != '9' && variant != 'a' && variant != 'b' {
		return 0, false
	}
	return ms, true
}

// ulidTime reads the milliseconds of a ULID: 26 letters of Crockford's base 32,
// all upper or all lower case, of which the first ten are the time.
func ulidTime(s string) (ms int64, ok bool) {
	if len(s) != 26 || s[0] > '7' {
		return 0, false
	}
	if s != strings.ToUpper(s) && s != strings.ToLower(s) {
		return 0, false
	}
	upper := strings.ToUpper(s)
	for i := range len(upper) {
		d := strings.IndexByte("0123456789ABCDEFGHJKMNPQRSTVWXYZ", upper[i])
		if d < 0 {
			return 0, false
		}
		if i < 10 {
			ms = ms<<5 | int64(d)
		}
	}
	return ms, true
}
