package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"iter"
	"testing"
	"time"

	"github.com/poterne/poterne/services/search/internal/store"
)

type fakeSource struct{ versions []store.Version }

func (s fakeSource) Everything(_ context.Context, c store.Collection, fn func(c store.Collection, versions iter.Seq2[store.Version, error]) error) error {
	return fn(c, func(yield func(store.Version, error) bool) {
		for _, v := range s.versions {
			if !yield(v, nil) {
				return
			}
		}
	})
}

func small(tb testing.TB) []byte {
	tb.Helper()
	var out bytes.Buffer
	c := store.Collection{ID: "c", EmbeddingModel: "m", Dimensions: 2, Generation: 9, VectorMetric: "cosine"}
	v := store.Version{
		Document: store.Document{ID: "a", No: 3, Text: "one two", Metadata: []byte(`{"n":1}`), CreateTime: time.Unix(1, 0).UTC(), UpdateTime: time.Unix(2, 0).UTC()},
		Chunks:   []store.Chunk{{Start: 0, End: 3, Terms: 1, Text: "one", Vector: []float32{1, 2}, Headings: []string{"Guide"}}, {Number: 1, Start: 4, End: 7, Terms: 1, Text: "two", Vector: []float32{3, 4}}},
	}
	if err := Write(tb.Context(), fakeSource{[]store.Version{v}}, c, &out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// Whatever comes with the right hash is read or refused, and what is read is as
// the service would have written it.
func FuzzVersions(f *testing.F) {
	whole := small(f)
	f.Add(whole[:len(whole)-sha256.Size])
	f.Add(bytes.Replace(whole[:len(whole)-sha256.Size], []byte(`"end":7`), []byte(`"end":8`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := sha256.Sum256(b)
		backup, err := Open(bytes.NewReader(append(b, sum[:]...)))
		if err != nil {
			return
		}
		last := int64(0)
		for v, err := range backup.Versions("acme") {
			if err != nil {
				return
			}
			if v.ID == "" || v.No <= last || len(v.Chunks) == 0 || v.Principals == nil {
				t.Fatalf("%+v", v)
			}
			for _, c := range v.Chunks {
				if len(c.Vector) != backup.header.Dimensions || c.End > len(v.Text) {
					t.Fatalf("%+v", c)
				}
			}
			last = v.No
		}
	})
}

func TestASmallBackupIsRead(t *testing.T) {
	b, err := Open(bytes.NewReader(small(t)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for v, err := range b.Versions("acme") {
		if err != nil || v.ID != "a" || len(v.Chunks) != 2 || v.Chunks[1].Vector[1] != 4 || v.Principals[0] != "tenant:acme" {
			t.Errorf("%+v, %v", v, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d documents", n)
	}
}
