package ids_test

import (
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
