package grpcclient

import (
	"maps"
	"slices"

	"google.golang.org/grpc/metadata"
)

// Metadata is what goes with one call. A part of it may be other calls', too: nothing of
// that is changed, but copied first. The zero value is empty; keys are in lower case.
type Metadata struct {
	md     metadata.MD
	shared bool
}

// With returns m with a value in the place of those that the key has.
func (m Metadata) With(key, value string) Metadata {
	m = m.own()
	m.md[key] = []string{value}
	return m
}

// Without returns m without a key.
func (m Metadata) Without(key string) Metadata {
	if _, ok := m.md[key]; ok {
		m = m.own()
		delete(m.md, key)
	}
	return m
}

// And returns m with all of md in the place of what the same keys have. Neither md nor
// what is in it may be changed from then on.
func (m Metadata) And(md metadata.MD) Metadata {
	switch {
	case len(md) == 0:
		return m
	case len(m.md) == 0:
		return Metadata{md: md, shared: true}
	}
	m = m.own()
	for key, values := range md {
		m.md[key] = slices.Clip(values)
	}
	return m
}

// own is m that nobody else has.
func (m Metadata) own() Metadata {
	switch {
	case m.md == nil:
		m.md = make(metadata.MD)
	case m.shared:
		m.md = maps.Clone(m.md)
	}
	return Metadata{md: m.md}
}
