package jsonwalk

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestWithout(t *testing.T) {
	tests := []struct {
		text string
		drop []string
		want string
	}{
		{`{"a":1,"b":{"c":[1,"}"]},"d":"\"x\""}`, []string{"b"}, `{"a":1,"d":"\"x\""}`},
		{`{"a":1, "b":2}`, []string{"b"}, `{"a":1}`},
		{`{"a":1,"b":2,"c":3}`, []string{"b", "c"}, `{"a":1}`},
		{`{"a":1 , "b":2 , "c":3 }`, []string{"a"}, `{ "b":2 , "c":3 }`},
		{`{"a":1}`, []string{"a"}, `{}`},
		{`{"a":1,"b":2}`, []string{"a", "b"}, `{}`},
		{`{"a":1.0e1,"b":2}`, nil, `{"a":1.0e1,"b":2}`},
	}
	for _, tt := range tests {
		if got := cut(t, tt.text, tt.drop...); string(got) != tt.want {
			t.Errorf("%s without %v is %s, want %s", tt.text, tt.drop, got, tt.want)
		}
	}
}

func cut(t *testing.T, text string, names ...string) []byte {
	t.Helper()
	var spans []Span
	w := NewWalk([]byte(text))
	for {
		name, at, ok := w.Next()
		if !ok {
			break
		}
		for _, n := range names {
			if string(name) == n {
				spans = append(spans, at)
			}
		}
	}
	if !w.OK() {
		t.Fatalf("%s: the walk did not come to the end", text)
	}
	return Without([]byte(text), spans...)
}

func TestWalkEndsAtWhatIsNoObject(t *testing.T) {
	for _, text := range []string{``, `[]`, `{`, `{"a"`, `{"a":`, `{"a":}`, `{"a":1`, `{"a":"x`, `{"a":[1,2`, `{a:1}`, `{"a" 1}`, `{"\`, `{"a":]}`} {
		w := NewWalk([]byte(text))
		for n := 0; ; n++ {
			if _, _, ok := w.Next(); !ok {
				break
			}
			if n > len(text) {
				t.Fatalf("%q: the walk does not end", text)
			}
		}
		if w.OK() {
			t.Errorf("%q is taken for an object", text)
		}
	}
}

// FuzzWalk holds that a walk ends, stays within the text, and sees what a JSON
// reader sees; and that any member can be taken out of an object.
func FuzzWalk(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[{"x":"\\\""}], "c" : null}`))
	f.Add([]byte(` {"usage":{"a":{}},"z":"\u0041"} `))
	f.Add([]byte(`{"a":1,,}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := NewWalk(text)
		var spans []Span
		for {
			_, at, ok := w.Next()
			if !ok {
				break
			}
			if at.Start >= at.Value || at.Value >= at.End || at.End > len(text) {
				t.Fatalf("%q: a member at %+v", text, at)
			}
			spans = append(spans, at)
		}
		trimmed := bytes.TrimSpace(text)
		if !json.Valid(text) || len(trimmed) == 0 || trimmed[0] != '{' {
			return
		}
		if !w.OK() {
			t.Fatalf("%q: the walk did not come to the end", text)
		}
		for _, s := range spans {
			if !json.Valid(s.Of(text)) {
				t.Errorf("%q: %q is no value", text, s.Of(text))
			}
			if out := Without(text, s); !json.Valid(out) {
				t.Errorf("%q without %q is %q", text, text[s.Start:s.End], out)
			}
		}
		if out := Without(text, spans...); !json.Valid(out) {
			t.Errorf("%q without its members is %q", text, out)
		}
	})
}

// What is added without members leaves what was there before, whatever that ends with.
func TestAppendWithoutKeepsWhatWasThere(t *testing.T) {
	text := []byte(`{"a":1,"b":2}`)
	walk := NewWalk(text)
	_, _, _ = walk.Next()
	_, b, _ := walk.Next()
	for _, before := range []string{"", "x", "x,", "x, "} {
		if out := string(AppendWithout([]byte(before), text, b)); out != before+string(Without(text, b)) {
			t.Errorf("%q became %q", before, out)
		}
	}
	inner := []byte(`"b":2}`)
	at := Span{Start: 0, End: 5}
	if out := string(AppendWithout([]byte("x,"), inner, at)); out != "x,}" {
		t.Errorf("%q", out)
	}
}

func TestCompact(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a b":[1,"\" \\"],"c":null}`: true, ``: true, `{"a": 1}`: false, `{"a":1 }`: false, "{\n}": false, `[1,	2]`: false, `1 `: false, `"a`: false,
	} {
		if got := Compact([]byte(text)); got != want {
			t.Errorf("%s: compact is %v", text, got)
		}
	}
}
