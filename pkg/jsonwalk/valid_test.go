package jsonwalk_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/jsonwalk"
)

func FuzzValid(f *testing.F) {
	for _, text := range []string{
		"", " ", `{}`, ` {"a":[1,2.5e-7,null,true,false,"x"]} `, `{"a":1,"a":2}`, `{"a":1,}`, `{"a"}`, `{} {}`, `[1,]`, `01`, `-`, `1.`, `1e`, `.5`,
		`"\ud800"`, `"\ud800\ud800"`, `"\x"`, `"\u12"`, "\"\xff\"", "\"a\nb\"", "\"\x7f\"", "\xef\xbb\xbf{}", `nul`, `"`, "{\"\xff\":1}", `1 2`, "[1\x00]",
		strings.Repeat("[", 9999) + strings.Repeat("]", 9999), strings.Repeat("[", 10000) + strings.Repeat("]", 10000),
		strings.Repeat("[", 10001) + strings.Repeat("]", 10001), strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := jsonwalk.Valid(text), json.Valid(text); got != want {
			t.Errorf("%.100q: %v, want %v", text, got, want)
		}
	})
}
