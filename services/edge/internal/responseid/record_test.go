package responseid

import (
	"bytes"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/identity"
)

func TestAnIDNamesItsRecord(t *testing.T) {
	s, now := New(bytes.Repeat([]byte{7}, 32)), time.Unix(1_800_000_000, 0)
	ada := identity.NewCaller("acme", "ada", nil, nil)
	by := Served{Model: "small", Version: 3, Record: "01a2182d-e894-7d19-8608-a4b3ff62b11e"}
	id := s.Make("chatcmpl-", ada, by, now)
	if got, ok := Record(id); !ok || got != by.Record {
		t.Errorf("%q, %v", got, ok)
	}
	if a, err := s.Read(id, ada); err != nil || a.Served != by {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := s.Read(id, identity.NewCaller("other", "ada", nil, nil)); err == nil {
		t.Error("another's id is read")
	}
	for _, record := range []string{"", "r-1"} { // not known, or no UUID
		by.Record = record
		id := s.Make("chatcmpl-", ada, by, now)
		if got, ok := Record(id); ok {
			t.Errorf("%q names the record %q", record, got)
		}
		if a, err := s.Read(id, ada); err != nil || a.Model != "small" || a.Record != "" {
			t.Errorf("%+v, %v", a, err)
		}
	}
	for _, id := range []string{"", "chatcmpl-", "chatcmpl-Ag", "01a2182d-e894-7d19-8608-a4b3ff62b11e"} {
		if got, ok := Record(id); ok {
			t.Errorf("%q names the record %q", id, got)
		}
	}
}
