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

// Tables show enumerations as words, no number where 0 stands for none, and texts
// without brackets; what is not of the enumeration is left alone.
func TestColumnsOfEnumerations(t *testing.T) {
	item := map[string]any{
		"state": "DELIVERY_STATE_GIVEN_UP", "none": "DELIVERY_STATE_UNSPECIFIED", "other": "new", "zero": json.Number("0"), "ten": json.Number("10"),
		"notes": []string{"a", "b"}, "nil": []string(nil),
	}
	for spec, want := range map[string]string{
		"S state DELIVERY_STATE_": "given up", "S none DELIVERY_STATE_": "-", "S other DELIVERY_STATE_": "new", "S state": "DELIVERY_STATE_GIVEN_UP",
		"S zero 0": "-", "S ten 0": "10", "S zero": "0", "S away 0": "-", "S notes": "a; b", "S nil": "-",
	} {
		if got := columns(spec)[0].of(item); got != want {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
}
