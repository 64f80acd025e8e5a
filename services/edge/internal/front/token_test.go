package front

import (
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	const others = "!#$%&'*+-.^_`|~"
	for c := range 256 {
		if want := alphanumeric(byte(c)) || strings.IndexByte(others, byte(c)) >= 0; token(byte(c)) != want {
			t.Errorf("%q: %v", byte(c), !want)
		}
	}
}
