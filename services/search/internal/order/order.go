// Package order reads orders of hits in the syntax of AIP-132, such as
// `metadata.year desc, title`, and compares by them. Start reading at Parse and
// Compare.
package order

import (
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/filter"
)

// The bounds on an order.
const (
	MaxBytes = 1024
	MaxKeys  = 8
)

// By says what a key compares.
type By string

// What can be compared.
const (
	Metadata   By = "metadata"
	Title      By = "title"
	ID         By = "id"
	CreateTime By = "create_time"
	UpdateTime By = "update_time"
	Score      By = "score"
)

// Key is one thing to order by.
type Key struct {
	By By
	// Path is of the metadata.
	Path string
	Desc bool
}

// metadataPrefix parts metadata from what else can be ordered by; it may be
// left out of names that are nothing else.
const metadataPrefix = "metadata."

// MetadataPath returns the path that a name of a metadata field means.
func MetadataPath(name string) string { return strings.TrimPrefix(name, metadataPrefix) }

// Parse reads an order; blank is none. An error is INVALID_ARGUMENT on
// order_by and says which key is wrong.
func Parse(s string) ([]Key, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	if len(s) > MaxBytes {
		return nil, apierr.Invalid("order_by", "order_by is longer than %d bytes", MaxBytes)
	}
	parts := strings.Split(s, ",")
	if len(parts) > MaxKeys {
		return nil, apierr.Invalid("order_by", "order_by has %d keys, more than %d", len(parts), MaxKeys)
	}
	out := make([]Key, len(parts))
	seen := make(map[Key]bool, len(parts))
	for i, p := range parts {
		words := strings.Fields(p)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != "asc" && words[1] != "desc" {
			return nil, apierr.Invalid("order_by", "order_by: key %d must be a name, and asc or desc behind it if need be", i+1)
		}
		k := keyOf(words[0])
		if k.By == Metadata && !filter.ValidPath(k.Path) {
			return nil, apierr.Invalid("order_by", "order_by: key %d is not the path of a metadata field", i+1)
		}
		if seen[k] {
			return nil, apierr.Invalid("order_by", "order_by: key %d is there twice", i+1)
		}
		seen[k] = true
		k.Desc = len(words) == 2 && words[1] == "desc"
		out[i] = k
	}
	return out, nil
}

func keyOf(name string) Key {
	switch by := By(name); by {
	case Title, ID, CreateTime, UpdateTime, Score:
		return Key{By: by}
	case Metadata:
		fallthrough
	default:
		return Key{By: Metadata, Path: MetadataPath(name)}
	}
}

// Value is what one thing has for a key: First orders it upwards and Last
// downwards, which differ for lists. Missing things are last either way.
type Value struct {
	There       bool
	First, Last filter.Value
}

// Of returns a value that is one thing.
func Of(v filter.Value) Value { return Value{There: true, First: v, Last: v} }

// OfField returns the value of a metadata field: a list is ordered upwards by
// its least and downwards by its greatest element. Objects and empty lists are
// missing.
func OfField(f filter.Field) Value {
	var out Value
	for _, v := range f.Values {
		v = filter.Shown(v)
		if !out.There {
			out = Of(v)
			continue
		}
		if filter.Order(v, out.First) < 0 {
			out.First = v
		}
		if filter.Order(v, out.Last) > 0 {
			out.Last = v
		}
	}
	return out
}

// OfText returns the value of a string; an empty one is missing.
func OfText(s string) Value {
	if s == "" {
		return Value{}
	}
	return Of(filter.Shown(filter.StringValue(s)))
}

// Compare compares two things by the keys; a and b give what they have for the
// key of a number.
func Compare(keys []Key, a, b func(i int) Value) int {
	for i, k := range keys {
		if c := compare(k, a(i), b(i)); c != 0 {
			return c
		}
	}
	return 0
}

func compare(k Key, a, b Value) int {
	switch {
	case !a.There && !b.There:
		return 0
	case !a.There:
		return 1
	case !b.There:
		return -1
	case k.Desc:
		return filter.Order(b.Last, a.Last)
	default:
		return filter.Order(a.First, b.First)
	}
}

// OfTime returns the value of a moment, in nanoseconds since 1970.
func OfTime(nanos int64) Value { return Of(filter.TimeValue(time.Unix(0, nanos))) }
