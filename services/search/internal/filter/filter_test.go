package filter

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2"
)

type object = map[string]any

func library() []object {
	return []object{
		0: {"lang": "fr", "year": 2019.0, "tags": []any{"a", "b"}, "draft": false},
		1: {"lang": "en", "year": 2021.0, "tags": []any{"b"}, "draft": true, "author": object{"name": "Ada", "age": 36.0}},
		2: {"lang": "fr", "year": 2021.5, "author": object{"name": "Zoé"}},
		3: {"year": "2021", "a b": "x", "lang": nil},
		4: {},
	}
}

func selected(t *testing.T, filter string, docs []object) []uint32 {
	t.Helper()
	n, err := Parse(filter)
	if err != nil {
		t.Fatalf("%s: %v", filter, err)
	}
	return columnsOf(t, docs).Select(n, everything(docs)).ToArray()
}

func columnsOf(tb testing.TB, docs []object) *Columns {
	tb.Helper()
	c := NewColumns()
	for i, d := range docs {
		fields, err := Fields(d)
		if err != nil {
			tb.Fatal(err)
		}
		c.Add(uint32(i), fields)
	}
	return c
}

func everything(docs []object) *roaring.Bitmap {
	all := roaring.New()
	all.AddRange(0, uint64(len(docs)))
	return all
}

func TestSelect(t *testing.T) {
	for filter, want := range map[string]string{
		``:                                     "01234",
		`lang = "fr"`:                          "02",
		`lang=fr`:                              "02",
		`lang != "fr"`:                         "1",
		`NOT lang = "fr"`:                      "134",
		`-lang = "fr"`:                         "134",
		`year >= 2020`:                         "12",
		`year > 2019 AND year < 2021.5`:        "1",
		`year <= 2021`:                         "01",
		`year = "2021"`:                        "3",
		`year > -1`:                            "012",
		`tags:"b"`:                             "01",
		`tags:a`:                               "0",
		`tags = "b"`:                           "",
		`draft = true`:                         "1",
		`draft = false`:                        "0",
		`draft:*`:                              "01",
		`author.name = "Ada"`:                  "1",
		`author.age < 40`:                      "1",
		`author:name`:                          "12",
		`author:age`:                           "1",
		`"a b" = x`:                            "3",
		`missing = 1`:                          "",
		`missing != 1`:                         "",
		`lang = "en" OR lang = "fr"`:           "012",
		`lang = "fr" AND year > 2020`:          "2",
		`lang=fr lang=fr year=2019`:            "0",
		`lang = en OR lang = fr AND year>2020`: "12", // OR binds tighter (AIP-160)
		`NOT (lang = "fr" OR draft = true)`:    "34",
		`  lang = 'en'  `:                      "1",
	} {
		got := ""
		for _, d := range selected(t, filter, library()) {
			got += string(rune('0' + d))
		}
		if got != want {
			t.Errorf("%s selects %q, want %q", filter, got, want)
		}
	}
}

func TestBadFiltersSayWhere(t *testing.T) {
	for filter, column := range map[string]int{
		`lang =`:                0, // anywhere, but not nowhere
		`lang = "fr`:            0,
		`(lang = "fr"`:          0,
		`lang = "fr")`:          12,
		`AND`:                   0,
		`fr`:                    1,
		`a = 1 AND fr`:          11,
		`lang = f(x)`:           0,
		`timestamp("x") > a`:    0,
		`1 = a`:                 1,
		`a = b.c`:               0,
		`é = 1 AND oups`:        11,
		`   oups`:               4,
		"a = \xff":              0,
		strings.Repeat("(", 40): MaxDepth + 1,
		`a="\"" AND ` + strings.Repeat("(", 40) + `b=1` + strings.Repeat(")", 40): len(`a="\"" AND `) + MaxDepth + 1,
		`a="\\" AND ` + strings.Repeat("(", 40):                                   len(`a="\\" AND `) + MaxDepth + 1,
		`a="b\"`:                                                                  3,
		strings.Repeat("a", 1<<15):                                                1,
		strings.Repeat("a=1 AND ", MaxComparisons) + "a=1":                        0,
		strings.Repeat("NOT ", 3) + "a=1":                                         0,
	} {
		_, err := Parse(filter)
		var bad *Error
		if !errors.As(err, &bad) {
			t.Errorf("%.40q: got %v, want an *Error", filter, err)
			continue
		}
		if bad.Column < 1 || column != 0 && bad.Column != column {
			t.Errorf("%.40q: column %d, want %d (%s)", filter, bad.Column, column, bad.Message)
		}
		if strings.Contains(bad.Message, "\n") || len(bad.Message) > 200 {
			t.Errorf("%.40q: message %q", filter, bad.Message)
		}
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	c := columnsOf(t, library())
	for i, d := range library() {
		fields, _ := Fields(d)
		c.Remove(uint32(i), fields)
	}
	if len(c.fields) != 0 {
		t.Errorf("%d fields are left", len(c.fields))
	}
}

func TestFieldsRefusesWhatFiltersCannotSpeakOf(t *testing.T) {
	deep := object{}
	for range MaxMetadataDepth {
		deep = object{"x": deep}
	}
	wide := object{}
	for i := range MaxFields + 1 {
		wide[strings.Repeat("k", i+1)] = true
	}
	for name, m := range map[string]object{
		"list in list":   {"a": []any{[]any{"x"}}},
		"object in list": {"a": []any{object{"b": 1.0}}},
		"deep":           deep,
		"wide":           wide,
		"empty name":     {"": 1.0},
		"long name":      {strings.Repeat("x", MaxPathBytes+1): 1.0},
	} {
		if _, err := Fields(m); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// match is the plain meaning of a filter, for one document.
func match(n Node, d object) bool {
	switch n := n.(type) {
	case *And:
		for _, c := range n.Nodes {
			if !match(c, d) {
				return false
			}
		}
		return true
	case *Or:
		for _, c := range n.Nodes {
			if match(c, d) {
				return true
			}
		}
		return false
	case *Not:
		return !match(n.Node, d)
	case *Compare:
		fields, _ := Fields(d)
		for _, f := range fields {
			if n.Op == Has && !n.Any && n.Value.Kind == String && f.Path == n.Path+"."+n.Value.Text {
				return true
			}
			if f.Path != n.Path {
				continue
			}
			if n.Any || n.Op == NotEqual && f.Shape != Scalar {
				return true
			}
			for _, v := range f.Values {
				if (f.Shape == Scalar || n.Op == Has) && n.Op.passes(v, n.Value) {
					return true
				}
			}
		}
		return false
	default:
		return true
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`lang = "fr" AND year >= 2020`, `NOT (a.b:"x" OR c != -1.5e3)`, `a:*`, `((((a=1))))`, `f(f(f(x)))`,
		`a = true b = 0x1F`, `"a b".c = 'd'`, strings.Repeat("f(", 30), strings.Repeat("-", 30) + "a=1", `a.NOT.b = 3`,
		"a=1\nAND\n= 2", `a = 1.2.3`, `(a = "\q"`, `a <> 1e400`, "é) =\t", strings.Repeat("f", 300) + "(1)", "\x00()",
	} {
		f.Add(s, uint64(1))
	}
	docs := library()
	f.Fuzz(func(t *testing.T, s string, _ uint64) {
		n, err := Parse(s)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || bad.Column < 1 || bad.Column > utf8.RuneCountInString(s)+1 {
				t.Fatalf("%q: %#v", s, err)
			}
			if bad.Message == "" || len(bad.Message) > 200 || strings.ContainsAny(bad.Message, "\n\r\x00") || !utf8.ValidString(bad.Message) {
				t.Fatalf("%q: %q", s, bad.Message)
			}
			return
		}
		got := columnsOf(t, docs).Select(n, everything(docs))
		for i, d := range docs {
			if n != nil && match(n, d) != got.Contains(uint32(i)) {
				t.Fatalf("%q: document %d", s, i)
			}
		}
	})
}

func TestColumnsAgreeWithThePlainMeaning(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []any{"x", "y", 1.0, 2.0, -3.5, true, false, nil, []any{"x", 1.0}, []any{}, object{"p": "x"}, object{"q": []any{"y"}}}
	wants := []Value{StringValue("x"), StringValue("p"), NumberValue(1), NumberValue(-3.5), BoolValue(true)}
	ops := []Op{Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, Has}
	paths := []string{"a", "b", "a.p", "b.q"}
	var random func(depth int) Node
	random = func(depth int) Node {
		switch k := rng.IntN(5); {
		case depth > 3 || k < 2:
			return &Compare{
				Path: paths[rng.IntN(len(paths))], Op: ops[rng.IntN(len(ops))],
				Value: wants[rng.IntN(len(wants))],
			}
		case k == 2:
			return &And{[]Node{random(depth + 1), random(depth + 1)}}
		case k == 3:
			return &Or{[]Node{random(depth + 1), random(depth + 1)}}
		default:
			return &Not{random(depth + 1)}
		}
	}
	docs := make([]object, 200)
	for i := range docs {
		docs[i] = object{"a": values[rng.IntN(len(values))], "b": values[rng.IntN(len(values))]}
	}
	c := columnsOf(t, docs)
	for range 500 {
		n := random(0)
		got := c.Select(n, everything(docs))
		for i, d := range docs {
			if match(n, d) != got.Contains(uint32(i)) {
				t.Fatalf("document %v, filter %+v: columns say %v", d, n, got.Contains(uint32(i)))
			}
		}
	}
}

// Repeated values are kept once, without comparing each with all the others: a
// test that did would not end in time.
func TestLongListsAreRead(t *testing.T) {
	const n = 1_000_000
	list := make([]any, 0, n+3)
	for i := range n {
		list = append(list, float64(i))
	}
	fields, err := Fields(object{"l": append(list, 1.0, "1", true)})
	if err != nil || len(fields) != 1 || len(fields[0].Values) != n+2 {
		t.Fatalf("%d fields, %v", len(fields), err)
	}
}
