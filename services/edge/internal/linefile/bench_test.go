package linefile

import (
	"strings"
	"testing"
)

// What a line costs, of those that come and are soon done with.
func BenchmarkAppend(b *testing.B) {
	l := New(b.TempDir(), "a-", ".lines")
	l.Keep = FileBytes
	if err := l.Begin(); err != nil {
		b.Fatal(err)
	}
	defer l.Close(true)
	object := []byte(`{"x":"` + strings.Repeat("x", 1300) + `"}`)
	b.SetBytes(int64(len(object)))
	n := int64(0)
	for b.Loop() {
		n++
		if err := l.Append(object, n); err != nil {
			b.Fatal(err)
		}
		if n%256 == 0 {
			if err := l.Written(n); err != nil {
				b.Fatal(err)
			}
		}
	}
}
