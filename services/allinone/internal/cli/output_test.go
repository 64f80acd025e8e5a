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

// A terminal obeys control characters of 8 bits as well, and what turns text.
func TestCellsShowAndDoNotTell(t *testing.T) {
	if got, want := cell("a\x1b[2J\u009b2Jb\u202ec\u00e9\u200d"), "a [2J 2Jb c\u00e9\u200d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
