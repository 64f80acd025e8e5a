// Package jsonbody changes a few members of a JSON object and keeps every other
// byte of it: numbers keep their digits, members their order, and parameters
// that nobody here knows reach the engine. It knows nothing of what the members
// mean; start reading at Set.
package jsonbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/jsonwalk"
)

// ErrNotObject is returned for JSON text that is not an object.
var ErrNotObject = errors.New("the body is not a JSON object")

// Member is one member of an object, its value as JSON text.
type Member struct {
	Name  string
	Value []byte
}

// Object is a JSON object that was checked once, to be looked into and changed often. It
// shares the text's memory.
type Object struct {
	members []part
	size    int
}

// part is one member: its unescaped name, its text and its value.
type part struct{ name, raw, value []byte }

// Read checks a text and finds its members.
func Read(body []byte) (Object, error) {
	o := Object{members: make([]part, 0, usualMembers), size: len(body)}
	err := each(body, func(name, raw, value []byte) { o.members = append(o.members, part{name, raw, value}) })
	return o, err
}

// usualMembers is how many members most requests have at most.
const usualMembers = 8

// Value returns a member's value; of a member that occurs more than once the last, as most
// JSON readers take it, and nil where there is none.
func (o Object) Value(name string) []byte {
	for _, m := range slices.Backward(o.members) {
		if string(m.name) == name {
			return m.value
		}
	}
	return nil
}

// Set returns the object's text with the members named by drop removed, however their
// names are escaped and however often they occur, and the members of set put first.
// set's names need not be in drop; their values must be JSON.
func (o Object) Set(drop func(name []byte) bool, set ...Member) []byte {
	size := o.size + 2
	for _, m := range set {
		size += len(m.Name) + len(m.Value) + 4
	}
	out := make([]byte, 0, size)
	out = append(out, '{')
	for _, m := range set {
		out = appendName(out, m.Name)
		out = append(append(out, ':'), m.Value...)
		out = append(out, ',')
	}
	for _, m := range o.members {
		if drop == nil || !drop(m.name) {
			out = append(append(out, m.raw...), ',')
		}
	}
	if out[len(out)-1] == ',' {
		out = out[:len(out)-1]
	}
	return append(out, '}')
}

// Set is Object.Set of a text that is changed once.
func Set(body []byte, drop func(name []byte) bool, set ...Member) ([]byte, error) {
	o, err := Read(body)
	if err != nil {
		return nil, err
	}
	return o.Set(drop, set...), nil
}

// Named returns a drop for Set: of the members of these names, in whatever case.
// Some engines read names without regard to it, and take the last.
func Named(names ...string) func(name []byte) bool {
	return func(name []byte) bool {
		for _, n := range names {
			if strings.EqualFold(n, string(name)) { // which is not kept, and so not copied
				return true
			}
		}
		return false
	}
}

// Get returns the values of the wanted members, by name, as Object.Value does. The values
// share body's memory.
func Get(body []byte, want ...string) (map[string][]byte, error) {
	found := make(map[string][]byte, len(want))
	o, err := Read(body)
	for _, w := range want {
		if value := o.Value(w); value != nil {
			found[w] = value
		}
	}
	return found, err
}

func appendName(out []byte, name string) []byte {
	if simple(name) {
		return append(append(append(out, '"'), name...), '"')
	}
	quoted, err := json.Marshal(name)
	if err != nil { // a string always has a JSON form
		return append(out, `""`...)
	}
	return append(out, quoted...)
}

// simple reports whether a name stands in JSON as it is.
func simple(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// each calls fn with the unescaped name, the text, and the value of each member.
func each(body []byte, fn func(name, raw, value []byte)) error {
	if err := check(body); err != nil {
		return err
	}
	// The text is valid: from here on, structure can be trusted.
	i := space(body, 0) + 1
	for {
		i = space(body, i)
		switch body[i] {
		case '}':
			return nil
		case ',':
			i++
			continue
		}
		start := i
		i = skipString(body, i)
		name, err := unescape(body[start:i])
		if err != nil {
			return err
		}
		i = space(body, i) + 1 // the colon
		i = space(body, i)
		value := i
		i = skipValue(body, i)
		fn(name, body[start:i], body[value:i])
	}
}

func check(body []byte) error {
	if !jsonwalk.Valid(body) {
		var v json.RawMessage
		err := json.Unmarshal(body, &v)
		return fmt.Errorf("the body is not valid JSON: %w", err)
	}
	if body[space(body, 0)] != '{' {
		return ErrNotObject
	}
	return nil
}

func unescape(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return nil, fmt.Errorf("a member's name: %w", err)
	}
	return []byte(s), nil
}

func space(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// skipValue returns the index after the value that begins at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
		default:
			i = skipScalar(b, i)
		}
		if depth == 0 {
			return i
		}
	}
}

// skipScalar returns the index after the number or name that begins at i.
func skipScalar(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
		i++
	}
	return i
}
