package declare

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// spoken is the part of what is there that a document speaks of. What is empty in
// the document and missing there is the same.
func spoken(document, there map[string]any) map[string]any {
	out := make(map[string]any, len(document))
	for key, wanted := range document {
		value, is := there[key]
		switch {
		case is:
			out[key] = value
		case isEmpty(wanted):
			out[key] = wanted
		}
	}
	return out
}

func isEmpty(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.IsZero() || (r.Kind() == reflect.Map || r.Kind() == reflect.Slice) && r.Len() == 0
}

// compare fills in what a change is about: before is the part of what is there that
// after speaks of; there nil is nothing.
func (c *Change) compare(there, after map[string]any) (*Change, error) {
	if there == nil {
		return c.both(nil, after)
	}
	return c.both(spoken(after, there), after)
}

// fixed refuses a field that the registry gives and no file can change: it may
// stand in a document only as it is.
func fixed(field, said, is, why string) error {
	if said == "" || said == is {
		return nil
	}
	if is == "" {
		return fmt.Errorf("%s cannot be set by a file: %s", field, why)
	}
	return fmt.Errorf("%s cannot be changed by a file, it is %s: %s", field, is, why)
}

// bare is an enumeration's value without its prefix, in lower case.
func bare(value, prefix string) string { return strings.ToLower(strings.TrimPrefix(value, prefix)) }

// enum is the reverse of bare; "" stays.
func enum(value, prefix string) string {
	if value == "" {
		return ""
	}
	return prefix + strings.ToUpper(value)
}

func oneOf(value string, known ...string) bool {
	return value == "" || slices.Contains(known, value)
}

// wide is an integer of 64 bits, which JSON of the contract writes as text.
type wide int64

// UnmarshalJSON reads a number or a text of one.
func (w *wide) UnmarshalJSON(raw []byte) error {
	var n json.Number
	if err := json.Unmarshal([]byte(strings.Trim(string(raw), `"`)), &n); err != nil {
		return err
	}
	i, err := n.Int64()
	*w = wide(i)
	return err
}

// deref is what a pointer points at; the zero value for nil.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// merged is how a map of values changes: what is wanted of what a document names,
// what is there of it, and what it removes by null.
func merged[V any](wanted map[string]*V, there map[string]V) (before, after map[string]V, remove []string) {
	before, after, remove = map[string]V{}, map[string]V{}, []string{}
	for name, value := range wanted {
		is, found := there[name]
		if found {
			before[name] = is
		}
		switch {
		case value != nil:
			after[name] = *value
		case found:
			remove = append(remove, name)
		}
	}
	return before, after, remove
}
