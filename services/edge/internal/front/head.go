package front

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// head is what look found out about a request.
type head struct {
	size   int   // in bytes, with the empty line
	length int64 // of the body, in bytes
	fields int   // how many there are
}

// verdict says what a request's beginning is.
type verdict int

const (
	// odd: somebody who understands more has to read it.
	odd verdict = iota
	// part: it is not whole yet, and nothing is odd about it so far.
	part
	// plain: it is served here.
	plain
)

// maxLengthDigits is how long a Content-Length may be.
const maxLengthDigits = 15

// look says whether b begins with a request that everybody reads in the same way: a
// method and a path of the usual kind, HTTP/1.1, lines that end with CR LF, fields of
// printable ASCII, one Host, and a body that has a length or none at all (RFC 9112,
// sections 3, 5 and 6). Anything else is odd, however common it may be.
func look(b []byte) (head, verdict) {
	line, size, v := nextLine(b)
	if v != plain {
		return head{}, v
	}
	if !requestLine(line) {
		return head{}, odd
	}
	h, hosts, lengths := head{}, 0, 0
	for {
		var n int
		if line, n, v = nextLine(b[size:]); v != plain {
			return head{}, v
		}
		if size += n; len(line) == 0 {
			break
		}
		name, value, ok := field(line)
		if !ok {
			return head{}, odd
		}
		h.fields++
		switch {
		case is(name, "host"):
			if hosts++; !hostValue(value) {
				return head{}, odd
			}
		case is(name, "content-length"):
			lengths++
			if h.length, ok = length(value); !ok {
				return head{}, odd
			}
		case is(name, "connection"):
			if !is(value, "keep-alive") && !is(value, "close") {
				return head{}, odd
			}
		case is(name, "transfer-encoding"), is(name, "upgrade"), is(name, "expect"), is(name, "te"), is(name, "trailer"), is(name, "pragma"):
			return head{}, odd
		}
	}
	if hosts != 1 || lengths > 1 {
		return head{}, odd
	}
	h.size = size
	return h, plain
}

// nextLine returns the line that b begins with, and its length with CR LF.
func nextLine(b []byte) ([]byte, int, verdict) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return nil, 0, part
	}
	if end == 0 || b[end-1] != '\r' {
		return nil, 0, odd
	}
	return b[:end-1], end + 1, plain
}

func requestLine(line []byte) bool {
	method, rest, _ := bytes.Cut(line, []byte{' '})
	target, version, _ := bytes.Cut(rest, []byte{' '})
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	return string(version) == "HTTP/1.1" && len(target) > 0 && target[0] == '/' && !bytes.HasPrefix(target, []byte("//")) &&
		!slices.ContainsFunc(target, func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '#' })
}

// field parts a line into its name and its value without the blanks around.
func field(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return nil, nil, false
	}
	name = line[:colon]
	for _, c := range name {
		if !token(c) {
			return nil, nil, false
		}
	}
	for _, c := range line[colon+1:] {
		if c < ' ' || c >= 0x7f {
			return nil, nil, false
		}
	}
	return name, bytes.Trim(line[colon+1:], " "), true
}

// token says whether c may be part of a field's name (RFC 9110, section 5.6.2).
func token(c byte) bool {
	const digits, letters = 0x03ff << '0', 0x07ff_fffe
	const low = digits | 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.'
	const high = letters | letters<<32 | 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | 1<<('|'-64) | 1<<('~'-64)
	set := uint64(low)
	if c >= 64 {
		set = high
	}
	return c < 128 && set>>(c&63)&1 != 0
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// hostValue takes names, addresses and ports.
func hostValue(v []byte) bool {
	for _, c := range v {
		if !alphanumeric(c) && strings.IndexByte("-._:[]", c) < 0 {
			return false
		}
	}
	return len(v) > 0
}

func length(v []byte) (int64, bool) {
	if len(v) == 0 || len(v) > maxLengthDigits {
		return 0, false
	}
	n := int64(0)
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// is compares without regard to case; lower is in lower case.
func is(b []byte, lower string) bool {
	return len(b) == len(lower) && strings.EqualFold(string(b), lower)
}
