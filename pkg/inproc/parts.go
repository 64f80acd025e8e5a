package inproc

import (
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// parts are what was added to a header or a trailer, one after another: they are put
// together when somebody asks. What was added must not be changed.
type parts []part

// part is metadata, or one pair of it.
type part struct {
	md         metadata.MD
	key, value string
}

// joined returns the parts together, in a map that is the asker's own; keys are in lower
// case on the wire.
func (p parts) joined() metadata.MD {
	if p == nil {
		return nil
	}
	keys := 0
	for i := range p {
		keys += max(len(p[i].md), 1)
	}
	md := make(metadata.MD, keys)
	for i := range p {
		if p[i].md == nil {
			md[p[i].key] = append(md[p[i].key], p[i].value)
		}
		for k, v := range p[i].md {
			k = strings.ToLower(k)
			if had, ok := md[k]; ok {
				v = append(had, v...)
			}
			md[k] = slices.Clip(v) // who adds to it gets a copy
		}
	}
	return md
}

// Heading has a call on a connection of this package give see each key of its header, in
// lower case, with the values, on the goroutine of the call and at its end, for who needs
// no map of them. The values must not be changed. Connections that leave the process do
// not heed it (Heads).
func Heading(see func(key string, values []string)) grpc.CallOption { return heading{see: see} }

type heading struct {
	grpc.EmptyCallOption
	see func(key string, values []string)
}

// WithinProcess says that the option asks nothing of connections that leave the process
// (package callwire looks for it).
func (heading) WithinProcess() {}

// Heads reports whether unary calls on a connection heed Heading.
func Heads(on any) bool {
	_, ok := on.(conn)
	return ok
}

// manyKeys is more than most headers have.
const manyKeys = 16

// each gives see what joined has in it.
func (p parts) each(see func(key string, values []string)) {
	var room [manyKeys]struct {
		key    string
		values []string
	}
	n := 0
	// add notes a key, and reports whether it is another one, and there was room for it.
	add := func(key string, values []string) bool {
		for i := range room[:n] {
			if room[i].key == key {
				return false
			}
		}
		if n == len(room) {
			return false
		}
		room[n].key, room[n].values = key, slices.Clip(values)
		n++
		return true
	}
	for i := range p {
		ok := p[i].md != nil || add(p[i].key, []string{p[i].value})
		for k, v := range p[i].md {
			ok = ok && add(strings.ToLower(k), v)
		}
		if !ok {
			for k, v := range p.joined() {
				see(k, v)
			}
			return
		}
	}
	for i := range room[:n] {
		see(room[i].key, room[i].values)
	}
}
