package jsonwalk

import "github.com/go-json-experiment/json/jsontext"

// Valid reports whether text is one JSON value, as encoding/json.Valid does: names may
// repeat, and strings be no UTF-8. It takes a fraction of the time.
func Valid(text []byte) bool {
	return plain(text) || jsontext.Value(text).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// Strict reports whether text is one JSON value, as jsontext.Value's IsValid does: of UTF-8,
// and with no name twice in an object.
func Strict(text []byte) bool { return plain(text) || jsontext.Value(text).IsValid() }
