package linefile

import (
	"strings"
	"testing"
)

// What a line costs, of those that come and are soon done with; and of those of which
// the store takes as many as a batch has, while the next ones come.
func BenchmarkAppend(b *testing.B) {
	b.Run("few", func(b *testing.B) { benchmarkAppend(b, 256, 0) })
	b.Run("many", func(b *testing.B) { benchmarkAppend(b, 512, 75) })
}

func benchmarkAppend(b *testing.B, batch, behind int64) {
	b.Helper()
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
		if n%batch == 0 {
			if err := l.Written(n - behind); err != nil {
				b.Fatal(err)
			}
		}
	}
}
