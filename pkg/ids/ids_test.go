package ids_test

import (
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/requestid"
)

func TestUUIDv7(t *testing.T) {
	s := ids.UUIDv7()
	seen := map[string]bool{}
	last := ""
	for range 1000 {
		id := s.New()
		u, err := uuid.Parse(id)
		if err != nil || u.Version() != 7 {
			t.Fatalf("%q is not a version 7 UUID: %v", id, err)
		}
		if !requestid.Valid(id) || seen[id] {
			t.Fatalf("%q is not valid or was given twice", id)
		}
		if id <= last {
			t.Fatalf("%q does not sort after %q", id, last)
		}
		seen[id], last = true, id
	}
}

func TestSequence(t *testing.T) {
	s := ids.Sequence("req")
	if a, b := s.New(), s.New(); a != "req-1" || b != "req-2" {
		t.Fatalf("got %q and %q", a, b)
	}
}

// Requests that come at the same moment have identifiers of their own: the random bytes
// that were asked for at once are used once.
func TestUUIDv7IsForManyAtOnce(t *testing.T) {
	const each, many = 500, 8
	s := ids.UUIDv7()
	given := make([][]string, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			for range each {
				given[i] = append(given[i], s.New())
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, list := range given {
		for i, id := range list {
			if seen[id] {
				t.Fatalf("%q was given twice", id)
			}
			if seen[id] = true; i > 0 && id <= list[i-1] {
				t.Fatalf("%q does not sort after %q", id, list[i-1])
			}
		}
	}
}

func BenchmarkUUIDv7(b *testing.B) {
	s := ids.UUIDv7()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = s.New()
		}
	})
}
