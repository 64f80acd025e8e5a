package filter_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/registry/internal/filter"
)

func TestParse(t *testing.T) {
	eq := func(field, value string) filter.Compare {
		return filter.Compare{Field: field, Op: filter.Equal, Value: value}
	}
	tests := map[string]filter.Node{
		"":                                nil,
		`engine = vllm`:                   eq("engine", "vllm"),
		`a = "b" AND (c = 1 OR NOT d:*)`:  filter.And{eq("a", "b"), filter.Or{eq("c", "1"), filter.Not{Node: filter.Compare{Field: "d", Op: filter.Has, Value: "*"}}}},
		`labels."poterne.dev/x" != "y"`:   filter.Compare{Field: "labels.poterne.dev/x", Op: filter.NotEqual, Value: "y"},
		`metrics.loss < -1.5 done = true`: filter.And{filter.Compare{Field: "metrics.loss", Op: filter.Less, Value: "-1.5"}, eq("done", "true")},
	}
	for text, want := range tests {
		if got, err := filter.Parse(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v, want %#v", text, got, err, want)
		}
	}
	for _, bad := range []string{
		"a", "a =", "a = (", "f(x) = 1", `a:"b"`, "a = b.c", "\x00", "\xff", `a = "\x00"`, `a."\000" = 1`, strings.Repeat("(", 100),
		strings.Repeat("a = 1 AND ", 40) + "a = 1", strings.Repeat("NOT ", 2000) + "a = 1",
	} {
		if _, err := filter.Parse(bad); err == nil || strings.HasSuffix(err.Error(), ": ") {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
}

// What is wrong is said in a few words with its place, not as the parser draws it.
func TestTheErrorSaysWhatAndWhere(t *testing.T) {
	for text, want := range map[string]string{
		"a =":    "the filter cannot be read: something is missing at its end, at character 4",
		`(a = 1`: "the filter cannot be read: expected ), at character 7",
		`a = "b`: "the filter cannot be read: unterminated string, at character 5",
	} {
		if _, err := filter.Parse(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`a = "b" AND NOT c:*`, `labels."x/y" != 1 OR (d <= 2.5)`, "(((", `"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := filter.Parse(text); err != nil && n != nil {
			t.Errorf("%q: both %v and %v", text, n, err)
		}
	})
}
