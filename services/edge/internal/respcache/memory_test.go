package respcache

import (
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func TestMemoryIsBoundedByBytes(t *testing.T) {
	c := clock.NewFake(time.Unix(1_800_000_000, 0))
	entry := func(ttl time.Duration) *Entry {
		return &Entry{Chunks: [][]byte{make([]byte, 1000)}, Made: c.Now(), TTL: ttl}
	}
	one := int64(entry(time.Hour).Size())
	m, err := newMemory(3*one, c)
	if err != nil {
		t.Fatal(err)
	}
	key := func(i byte) Key { return Key{i} }
	for i := range byte(3) {
		m.set(key(i), entry(time.Hour))
	}
	m.set(key(0), entry(time.Hour)) // in its own place
	if n, bytes := m.size(); n != 3 || bytes != 3*one {
		t.Errorf("%d answers, %d bytes", n, bytes)
	}
	m.get(key(1))
	m.set(key(3), entry(time.Minute))
	for i, want := range []bool{true, true, false, true} { // 2 was used the longest ago
		if _, ok := m.get(key(byte(i))); ok != want {
			t.Errorf("%d is kept: %t", i, ok)
		}
	}
	c.Advance(time.Minute)
	if _, ok := m.get(key(3)); ok {
		t.Error("what has expired was given")
	}
	if n, bytes := m.size(); n != 2 || bytes != 2*one {
		t.Errorf("%d answers, %d bytes", n, bytes)
	}
	m.set(key(4), &Entry{Chunks: [][]byte{make([]byte, 4*one)}, Made: c.Now(), TTL: time.Hour})
	if n, _ := m.size(); n != 2 {
		t.Errorf("what is too large drove out others: %d answers", n)
	}
}
