package usage

import (
	"strings"
	"testing"
)

func TestTextsOfEntriesAreShort(t *testing.T) {
	long := strings.Repeat("x", maxText-1)
	for in, want := range map[string]string{
		"": "", "chat": "chat", "caf\u00e9": "caf\u00e9", "a\x00b": "ab", "a\xffb": "ab", "\x00": "", "\xff\x00": "",
		long + "y" + "z": long + "y", long + "\u00e9": long,
	} {
		if got := short(in); got != want {
			t.Errorf("of %.20q (%d bytes): %.20q (%d)", in, len(in), got, len(got))
		}
	}
}

func BenchmarkShort(b *testing.B) {
	for b.Loop() {
		short("01a21ec0-7ff7-7ec1-8adf-4c3c4bf12325")
	}
}
