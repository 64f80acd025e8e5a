package jsonmember_test

import (
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
