package cli

import (
	"encoding/json"
	"testing"
)

func TestCellsOfObjects(t *testing.T) {
	for want, v := range map[string]map[string]any{
		"-":                   {},
		"a=1, b=-, c=x y":     {"c": "x\ny", "b": nil, "a": json.Number("1")},
		`{"a":{"b":1},"c":2}`: {"a": map[string]any{"b": 1}, "c": 2},
	} {
		if got := cell(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
