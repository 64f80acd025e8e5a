// Package jsonmember appends members of JSON objects that are written for every request,
// without reflection, as encoding/json would write fields with omitempty. A name is given
// as it stands in the text: `,"name":`. Start reading at Text.
package jsonmember

import (
	"encoding/binary"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Text appends a text, unless it is empty.
func Text(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	return Quote(append(dst, name...), s)
}

// Number appends a number, unless it is 0.
func Number(dst []byte, name string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), n, 10)
}

// True appends a member with its value, if it is so.
func True(dst []byte, member string, is bool) []byte {
	if !is {
		return dst
	}
	return append(dst, member...)
}

// List appends texts, unless there are none.
func List(dst []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = append(append(dst, name...), '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = Quote(dst, s)
	}
	return append(dst, ']')
}

// Quote appends a text in quotes. It never fails: what is not UTF-8 is replaced, as
// encoding/json does.
func Quote(dst []byte, s string) []byte {
	at := len(dst) + 1
	if dst = append(append(dst, '"'), s...); Plain(dst[at:]) {
		return append(dst, '"')
	}
	out, err := jsontext.AppendQuote(dst[:at-1], s)
	_ = err
	return out
}

// Plain reports whether s stands for itself between quotes, as nearly all does that is
// written here: it is printable ASCII without quotes and backslashes.
func Plain(s []byte) bool {
	const each = 0x0101010101010101 // a number in each byte of a word
	for ; len(s) >= 8; s = s[8:] {
		w := binary.LittleEndian.Uint64(s)
		// The highest bit is set in bytes that it was set in, and in those that are 0x7f, less
		// than a space, or equal to the quote or the backslash. A carry comes from such a byte.
		if (w|(w+each)|(w-each*' ')|((w^each*'"')-each)|((w^each*'\\')-each))&(each*0x80) != 0 {
			return false
		}
	}
	for _, c := range s {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
