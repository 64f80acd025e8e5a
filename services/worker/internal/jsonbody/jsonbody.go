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
	text []byte
	n    int
	room [usualMembers]part
	more []part
}

// usualMembers is how many members most requests have at most.
const usualMembers = 8

// part is one member: its unescaped name, and where it is in the text.
type part struct {
	name []byte
	jsonwalk.Span
}

// Read checks a text and finds its members.
func Read(body []byte) (Object, error) {
	o := Object{text: body}
	if err := check(body); err != nil {
		return o, err
	}
	for w := jsonwalk.NewWalk(body); ; o.n++ {
		name, at, ok := w.Next()
		if !ok {
			return o, nil
		}
		name, err := unescape(name)
		if err != nil {
			return o, err
		}
		if p := (part{name, at}); o.n < len(o.room) {
			o.room[o.n] = p
		} else {
			o.more = append(o.more, p)
		}
	}
}

// member returns the one at an index.
func (o *Object) member(i int) *part {
	if i < len(o.room) {
		return &o.room[i]
	}
	return &o.more[i-len(o.room)]
}

// Value returns a member's value; of a member that occurs more than once the last, as most
// JSON readers take it, and nil where there is none.
func (o *Object) Value(name string) []byte {
	for i := o.n - 1; i >= 0; i-- {
		if m := o.member(i); string(m.name) == name {
			return m.Of(o.text)
		}
	}
	return nil
}

// Set returns the object's text with the members named by drop removed, however their
// names are escaped and however often they occur, and the members of set put first.
// set's names need not be in drop; their values must be JSON.
func (o *Object) Set(drop func(name []byte) bool, set ...Member) []byte {
	size := len(o.text) + 2
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
	for i := range o.n {
		if m := o.member(i); drop == nil || !drop(m.name) {
			out = append(append(out, o.text[m.Start:m.End]...), ',')
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

func check(body []byte) error {
	if !jsonwalk.Valid(body) {
		var v json.RawMessage
		err := json.Unmarshal(body, &v)
		return fmt.Errorf("the body is not valid JSON: %w", err)
	}
	if bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
		return ErrNotObject
	}
	return nil
}

// unescape returns what a name of valid JSON means.
func unescape(name []byte) ([]byte, error) {
	if bytes.IndexByte(name, '\\') < 0 {
		return name, nil
	}
	quoted := append(append([]byte{'"'}, name...), '"')
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return nil, fmt.Errorf("a member's name: %w", err)
	}
	return []byte(s), nil
}
