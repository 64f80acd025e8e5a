package jsonmember_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge/internal/jsonmember"
)

func TestMembers(t *testing.T) {
	out := jsonmember.Quote([]byte(`{"q":`), "a\"\n\xff")
	for _, empty := range []bool{false, true} {
		text, number, list := "x", int64(-7), []string{"a", "b\\"}
		if empty {
			text, number, list = "", 0, nil
		}
		out = jsonmember.Text(out, `,"t":`, text)
		out = jsonmember.Number(out, `,"n":`, number)
		out = jsonmember.True(out, `,"y":true`, !empty)
		out = jsonmember.List(out, `,"l":`, list)
	}
	if want := "{\"q\":\"a\\\"\\n\ufffd\",\"t\":\"x\",\"n\":-7,\"y\":true,\"l\":[\"a\",\"b\\\\\"]"; string(out) != want {
		t.Errorf("%s, not %s", out, want)
	}
}

// Each byte at each place of a text is quoted as encoding/json reads it.
func TestQuote(t *testing.T) {
	plain := "0123456789abcdefghijkl"
	for b := range 256 {
		for at := range plain {
			text := plain[:at] + string([]byte{byte(b)}) + plain[at+1:]
			quoted := jsonmember.Quote([]byte("x"), text)
			var got string
			if err := json.Unmarshal(quoted[1:], &got); err != nil || got != strings.ToValidUTF8(text, "\ufffd") {
				t.Fatalf("%q is written %s: %v", text, quoted, err)
			}
			if short := len(quoted) == len(plain)+3; short != (b >= ' ' && b < 0x80 && b != '"' && b != '\\') {
				t.Errorf("%q is written %s", text, quoted)
			}
		}
	}
}

func BenchmarkQuote(b *testing.B) {
	var dst []byte
	for b.Loop() {
		dst = jsonmember.Quote(dst[:0], "/poterne.edge.v1.OpenAIService/CreateChatCompletion")
	}
}
