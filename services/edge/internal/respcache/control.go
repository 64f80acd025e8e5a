package respcache

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/poterne/poterne/pkg/apierr"
)

// The request headers, or over gRPC the metadata.
const (
	// HeaderUse is on or off, and may add tools and truncated: on, tools.
	HeaderUse = "x-poterne-cache"
	// HeaderControl is RFC 9111's.
	HeaderControl = "cache-control"
)

// Headers are the headers that are passed on from HTTP.
func Headers() []string { return []string{HeaderUse, HeaderControl} }

// Wish is what a request asks of the cache. Durations below 0 were not said.
type Wish struct {
	// Use is Off, All, or empty where nothing was said.
	Use Use
	// TTL is for how long the answer may be given again.
	TTL time.Duration
	// MaxAge is the oldest answer that is wanted, MinFresh for how long it must stay
	// fresh, and MaxStale how stale it may be.
	MaxAge, MinFresh, MaxStale time.Duration
	// Stale is for how long the answer may be given stale while it is made anew.
	Stale time.Duration
	// NoCache wants a new answer, and NoStore none that is kept.
	NoCache, NoStore, OnlyIfCached bool
	Tools, Truncated               bool
	// NoSemantic wants no answer to another question.
	NoSemantic bool
}

const unsaid = -1

func noWish() Wish {
	return Wish{TTL: unsaid, MaxAge: unsaid, MinFresh: unsaid, MaxStale: unsaid, Stale: unsaid}
}

// maxControl bounds a header's text.
const maxControl = 1024

// ParseWish reads what a request's headers and its member `cache` ask for. Both may
// forbid; the member is read last.
func ParseWish(use, control []string, member string) (Wish, error) {
	w := noWish()
	if len(use) > 1 {
		return w, apierr.Invalid(HeaderUse, "%s: must be given once", HeaderUse)
	}
	if len(use) == 1 {
		if err := w.header(use[0]); err != nil {
			return w, err
		}
	}
	for _, text := range control {
		if len(text) > maxControl {
			return w, apierr.Invalid(HeaderControl, "%s: must have at most %d bytes", HeaderControl, maxControl)
		}
		w.control(text)
	}
	if member == "" || member == "null" {
		return w, nil
	}
	err := w.member(member)
	return w, err
}

func (w *Wish) header(text string) error {
	if len(text) > maxControl {
		return apierr.Invalid(HeaderUse, "%s: must have at most %d bytes", HeaderUse, maxControl)
	}
	for word := range strings.SplitSeq(text, ",") {
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "on":
			w.Use = All
		case "off":
			w.Use = Off
		case "tools":
			w.Tools = true
		case "truncated":
			w.Truncated = true
		default:
			return apierr.Invalid(HeaderUse, "%s: must be on or off, and may add tools and truncated", HeaderUse)
		}
	}
	return nil
}

// control reads directives. As RFC 9111 (5.2) has it, those that are not known, or
// make no sense, are passed over; a time that cannot be read is none at all.
func (w *Wish) control(text string) {
	for directive := range strings.SplitSeq(text, ",") {
		name, value, given := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-cache":
			w.NoCache = true
		case "no-store":
			w.NoStore = true
		case "only-if-cached":
			w.OnlyIfCached = true
		case "max-age":
			w.MaxAge = seconds(value, 0)
		case "min-fresh":
			w.MinFresh = seconds(value, longest)
		case "max-stale":
			if w.MaxStale = longest; given {
				w.MaxStale = seconds(value, 0)
			}
		case "stale-while-revalidate":
			w.Stale = seconds(value, 0)
		}
	}
}

// longest is what RFC 9111 (1.2.2) takes a larger number for.
const longest = (1 << 31) * time.Second

func seconds(text string, otherwise time.Duration) time.Duration {
	n, err := strconv.ParseInt(strings.Trim(text, `"`), 10, 64)
	switch {
	case err != nil && strings.Trim(text, `"0123456789`) == "" && text != "":
		return longest
	case err != nil || n < 0:
		return otherwise
	}
	return min(time.Duration(min(n, 1<<31))*time.Second, longest)
}

// members is the member `cache` of a request.
type members struct {
	Use          *string
	TTL          *int64
	MaxAge       *int64
	Stale        *int64
	NoCache      bool
	NoStore      bool
	OnlyIfCached bool
	Tools        bool
	Truncated    bool
	Semantic     *bool
}

const field = "cache"

func (w *Wish) member(text string) error {
	var m members
	if err := m.read([]byte(text)); err != nil {
		return apierr.Invalid(field, "cache: must be an object with any of use (on or off), ttl, max_age, stale_while_revalidate (seconds), "+
			"no_cache, no_store, only_if_cached, tools, truncated and semantic (true or false)")
	}
	if m.Use != nil {
		switch *m.Use {
		case "on":
			w.Use = All
		case "off":
			w.Use = Off
		default:
			return apierr.Invalid(field+".use", "cache.use: must be on or off")
		}
	}
	for _, d := range []struct {
		name  string
		given *int64
		to    *time.Duration
	}{{"ttl", m.TTL, &w.TTL}, {"max_age", m.MaxAge, &w.MaxAge}, {"stale_while_revalidate", m.Stale, &w.Stale}} {
		if d.given == nil {
			continue
		}
		if *d.given < 0 || *d.given > 1<<31 {
			return apierr.Invalid(field+"."+d.name, "cache.%s: must be from 0 to 2147483648 seconds", d.name)
		}
		*d.to = time.Duration(*d.given) * time.Second
	}
	w.NoCache, w.NoStore = w.NoCache || m.NoCache, w.NoStore || m.NoStore
	w.OnlyIfCached = w.OnlyIfCached || m.OnlyIfCached
	w.Tools, w.Truncated = w.Tools || m.Tools, w.Truncated || m.Truncated
	w.NoSemantic = m.Semantic != nil && !*m.Semantic
	return nil
}

var errNoObject = errors.New("not such an object")

// read reads the object. Clients of other gateways write no-cache, s-maxage and
// use-cache: a hyphen is as good as an underscore.
func (m *members) read(raw []byte) error {
	var given map[string]jsontext.Value
	if err := json.Unmarshal(raw, &given); err != nil || given == nil {
		return errNoObject
	}
	use := false
	targets := map[string]any{
		"use": &m.Use, "ttl": &m.TTL, "max_age": &m.MaxAge, "s_maxage": &m.MaxAge, "stale_while_revalidate": &m.Stale, "no_cache": &m.NoCache,
		"no_store": &m.NoStore, "only_if_cached": &m.OnlyIfCached, "tools": &m.Tools, "truncated": &m.Truncated,
		"semantic": &m.Semantic, "use_cache": &use,
	}
	for name, value := range given {
		to, ok := targets[strings.ReplaceAll(name, "-", "_")]
		if !ok || string(value) == "null" {
			return errNoObject
		}
		if err := json.Unmarshal(value, to); err != nil {
			return err
		}
	}
	if use && m.Use == nil {
		on := "on"
		m.Use = &on
	}
	return nil
}

func hostPort(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	n, errPort := strconv.Atoi(port)
	return err == nil && errPort == nil && host != "" && n > 0 && n < 1<<16
}
