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
)

// ErrNotObject is returned for JSON text that is not an object.
var ErrNotObject = errors.New("the body is not a JSON object")

// Member is one member of an object, its value as JSON text.
type Member struct {
	Name  string
	Value []byte
}

// Set returns body with the members named by drop removed, however their names
// are escaped and however often they occur, and the members of set put first.
// set's names need not be in drop; their values must be JSON.
func Set(body []byte, drop func(name string) bool, set ...Member) ([]byte, error) {
	size := len(body) + 2
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
	err := each(body, func(name []byte, raw, _ []byte) {
		if drop == nil || !drop(string(name)) {
			out = append(append(out, raw...), ',')
		}
	})
	if err != nil {
		return nil, err
	}
	if out[len(out)-1] == ',' {
		out = out[:len(out)-1]
	}
	return append(out, '}'), nil
}

// Named returns a drop for Set: of the members of these names, in whatever case.
// Some engines read names without regard to it, and take the last.
func Named(names ...string) func(name string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	}
}

// Get returns the values of the wanted members, by name; of a member that
// occurs more than once the last, as most JSON readers take it. The values
// share body's memory.
func Get(body []byte, want ...string) (map[string][]byte, error) {
	found := make(map[string][]byte, len(want))
	err := each(body, func(name []byte, _, value []byte) {
		for _, w := range want {
			if string(name) == w {
				found[w] = value
			}
		}
	})
	return found, err
}

func appendName(out []byte, name string) []byte {
	quoted, err := json.Marshal(name)
	if err != nil { // a string always has a JSON form
		return append(out, `""`...)
	}
	return append(out, quoted...)
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
	if !json.Valid(body) {
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
