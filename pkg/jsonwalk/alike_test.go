package jsonwalk_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/jsonwalk"
)

func TestAlike(t *testing.T) {
	const text = `{"a":"b","c":["said",{}],"d":1}`
	at := bytes.Index([]byte(text), []byte(`"said"`))
	var a jsonwalk.Alike
	if _, ok := a.String([]byte(text)); ok {
		t.Error("one that knows none knows one")
	}
	if !a.Learn([]byte(text), at) {
		t.Fatal("not learned")
	}
	for other, want := range map[string]string{
		text:                                    "said",
		`{"a":"b","c":["",{}],"d":1}`:           "",
		`{"a":"b","c":["\"],\u00e9",{}],"d":1}`: `\"],\u00e9`,
		"{\"a\":\"b\",\"c\":[\"\u00e9\",{}],\"d\":1}": "\u00e9",
	} {
		inside, ok := a.String([]byte(other))
		if !ok || string(inside) != want {
			t.Errorf("%s: %q, %v", other, inside, ok)
		}
		if again := a.Append([]byte("x"), inside); string(again) != "x"+other {
			t.Errorf("%s became %s", other, again)
		}
	}
	for _, other := range []string{
		``, text[:len(text)-1], text + " ", `{"a":"b","c":["a","b",{}],"d":1}`, `{"a":"b","c":["\",{}],"d":1}`, `{"a":"b","c":["\x",{}],"d":1}`,
		"{\"a\":\"b\",\"c\":[\"\n\",{}],\"d\":1}", "{\"a\":\"b\",\"c\":[\"\xff\",{}],\"d\":1}", `{"a":"b","c":["\ud800",{}],"d":1}`,
		`{"a":"c","c":["said",{}],"d":1}`, `{"a":"b","c":["said",{}],"d":2}`, `{"a":"b","c":["`, `{"a":"b","c":",{}],"d":1}`,
	} {
		if inside, ok := a.String([]byte(other)); ok {
			t.Errorf("%s is taken for one with %q", other, inside)
		}
	}
	if a.Learn([]byte(text), 0) || a.Learn([]byte(`"a`), 0) || a.Learn([]byte(text), len(text)) {
		t.Error("what is no string was learned")
	}
	if _, ok := a.String([]byte(text)); ok {
		t.Error("what was known before is known still")
	}
}

// What is taken for alike is valid JSON, and the text that was learned but for the string.
func FuzzAlike(f *testing.F) {
	f.Add(`{"a":"b","c":["said",{}]}`, uint(14), `{"a":"b","c":["\u00e9\"",{}]}`)
	f.Add(`"a"`, uint(0), `"a\"b"`)
	f.Fuzz(func(t *testing.T, text string, at uint, other string) {
		var a jsonwalk.Alike
		if !jsonwalk.Strict([]byte(text)) || at > uint(len(text)) || !a.Learn([]byte(text), int(at)) {
			return
		}
		// A quote may end a string, too, and a string be a name: who learns knows better.
		if strings.Count(text[:at], `"`)%2 != 0 || strings.Contains(text[:at], `\`) {
			return
		}
		if end := jsonwalk.StringEnd([]byte(text), int(at)); strings.HasPrefix(strings.TrimLeft(text[end:], " \t\r\n"), ":") {
			return
		}
		if inside, ok := a.String([]byte(other)); ok {
			if !jsonwalk.Strict([]byte(other)) || string(a.Append(nil, inside)) != other {
				t.Errorf("%s: %s is taken for it", text, other)
			}
		}
		if _, ok := a.String([]byte(text)); !ok {
			t.Errorf("%s is not what it is", text)
		}
	})
}
