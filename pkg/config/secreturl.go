package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
)

// SecretURL is a URL that may hold a password. Where a Secret shows nothing, it
// shows all but the password, so that one can see which server is meant.
type SecretURL string

// Reveal returns the URL itself.
func (s SecretURL) Reveal() string { return string(s) }

// String returns the URL with Mask for its password; Mask alone for what is no
// URL, of which nobody knows where its password is.
func (s SecretURL) String() string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(string(s))
	if err != nil || u.Scheme == "" || u.Opaque != "" && strings.Contains(u.Opaque, "@") {
		return Mask
	}
	// Stands in for Mask, whose characters a URL would escape.
	const stand = "MASKED-0f1e"
	if u.User != nil {
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), stand)
		}
	}
	q := u.Query()
	for name := range q {
		if n := strings.ToLower(name); strings.Contains(n, "password") || strings.Contains(n, "secret") || strings.Contains(n, "token") {
			q.Set(name, stand)
			u.RawQuery = q.Encode()
		}
	}
	return strings.ReplaceAll(u.String(), stand, Mask)
}

// Format keeps the password out of every verb of fmt, %x and %d among them.
func (s SecretURL) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') || verb == 'q' {
		_, _ = f.Write([]byte(s.GoString()))
		return
	}
	_, _ = f.Write([]byte(s.String()))
}

// GoString keeps the password out of %#v.
func (s SecretURL) GoString() string { return strconv.Quote(s.String()) }

// MarshalText keeps the password out of YAML and JSON.
func (s SecretURL) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps the password out of logs.
func (s SecretURL) LogValue() slog.Value { return slog.StringValue(s.String()) }
