package testkit

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// InOrder returns JSON text with the members of each object in the order of their names and
// no space between, and everything spelled as it was.
func InOrder(tb testing.TB, text []byte) string {
	tb.Helper()
	v := jsontext.Value(text).Clone()
	if err := v.Compact(jsontext.ReorderRawObjects(true)); err != nil {
		tb.Fatalf("%q: %v", text, err)
	}
	return string(v)
}
