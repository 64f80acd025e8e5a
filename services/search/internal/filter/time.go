package filter

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// Instant reads what metadata may write for a moment: a timestamp of RFC 3339,
// or a date of it alone, which is its midnight in UTC.
func Instant(s string) (time.Time, bool) {
	// Most strings are none, and that is told by two characters.
	if len(s) < len(time.DateOnly) || s[4] != '-' || s[7] != '-' {
		return time.Time{}, false
	}
	layout := time.DateOnly
	if len(s) > len(time.DateOnly) {
		// RFC 3339 lets people write its letters small.
		layout, s = time.RFC3339Nano, strings.ToUpper(s)
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

// TimeValue returns t as a value. Its text lies in the order of time.
func TimeValue(t time.Time) Value {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:8], uint64(t.Unix())^1<<63)
	binary.BigEndian.PutUint32(b[8:], uint32(t.Nanosecond()))
	return Value{Kind: Time, Text: hex.EncodeToString(b[:])}
}

// AsTime returns the moment that v writes, as a value.
func (v Value) AsTime() (Value, bool) {
	switch v.Kind {
	case Time:
		return v, true
	case String:
		t, ok := Instant(v.Text)
		if !ok {
			return Value{}, false
		}
		return TimeValue(t), true
	case Number, Bool:
		fallthrough
	default:
		return Value{}, false
	}
}
