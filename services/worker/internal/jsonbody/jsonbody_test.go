package jsonbody

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func drop(names ...string) func([]byte) bool {
	return func(n []byte) bool { return slices.Contains(names, string(n)) }
}

func TestSet(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", `{}`, `{"model":"m"}`},
		{"absent", `{"a":1}`, `{"model":"m","a":1}`},
		{"replaced", `{"a":1,"model":"x","b":2}`, `{"model":"m","a":1,"b":2}`},
		{"only member", ` { "model" : "x" } `, `{"model":"m"}`},
		{"numbers keep their digits", `{"seed":12345678901234567890,"t":1.0E+2}`, `{"model":"m","seed":12345678901234567890,"t":1.0E+2}`},
		{"spaces inside values stay", `{"a" : [ 1, {"model":2} ]}`, `{"model":"m","a" : [ 1, {"model":2} ]}`},
		{"escaped name", `{"mod\u0065l":"x","a":"}\"]{"}`, `{"model":"m","a":"}\"]{"}`},
		{"twice", `{"model":1,"model":{"a":[]}, "b":null}`, `{"model":"m","b":null}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Set([]byte(tt.in), drop("model"), Member{"model", []byte(`"m"`)})
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	for _, in := range []string{``, `[]`, `"x"`, `1`, `null`, `{`, `{"a":}`, `{"a":1}{}`, `{"a":1,}`, strings.Repeat("[", 20000)} {
		if got, err := Set([]byte(in), nil); err == nil {
			t.Errorf("%.20q: got %s", in, got)
		}
	}
	if _, err := Set([]byte(`[1]`), nil); !errors.Is(err, ErrNotObject) {
		t.Errorf("got %v, want ErrNotObject", err)
	}
}

func TestGet(t *testing.T) {
	got, err := Get([]byte(`{"a": {"x":[1, 2]} ,"b":1,"\u0061":"last","c":[]}`), "a", "c", "none")
	if err != nil || string(got["a"]) != `"last"` || string(got["c"]) != "[]" || len(got) != 2 {
		t.Fatalf("got %q, %v", got, err)
	}
}

// FuzzSet checks against encoding/json: what is kept reads as before, what is
// set is there, and what is dropped is gone.
func FuzzSet(f *testing.F) {
	f.Add([]byte(`{"a":1,"model":"x","b":[{"model":1}," \" "]}`))
	f.Add([]byte("{ \"mod\\u0065l\" :\t-1.5e-7 , \"\" : { } }"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var before map[string]json.RawMessage
		object := json.Unmarshal(in, &before) == nil && before != nil
		out, err := Set(in, drop("model"), Member{"model", []byte("7")})
		if (err == nil) != object {
			t.Fatalf("%q: err %v, but object is %v", in, err, object)
		}
		if err != nil {
			return
		}
		var after map[string]json.RawMessage
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		before["model"] = json.RawMessage("7")
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q", in, out)
		}
	})
}

func TestNamedKnowsNoCase(t *testing.T) {
	body := `{"MODEL":"x","a":1,"Model":2,"\u006dODEL":3,"\u017ftream":true}`
	got, err := Set([]byte(body), Named("model", "stream"), Member{"model", []byte(`"m"`)})
	if err != nil || string(got) != `{"model":"m","a":1}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func BenchmarkReadAndSet(b *testing.B) {
	body := []byte(`{"model":"m","messages":[{"role":"system","content":"You are terse."},{"role":"user","content":"Say hello to everybody."}],"max_tokens":16,"temperature":0.5}`)
	b.ReportAllocs()
	for b.Loop() {
		o, err := Read(body)
		if err != nil || o.Value("max_tokens") == nil {
			b.Fatal(err)
		}
		o.Set(Named("model", "stream", "stream_options"), Member{Name: "model", Value: []byte(`"x"`)})
	}
}
