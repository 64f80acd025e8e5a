package memory

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLearned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.json")
	l := NewLearned(path)
	now := time.Unix(1_800_000_000, 0)
	observe := func(key string, estimated, seen int64) {
		t.Helper()
		if err := l.Observe(key, estimated, seen, now); err != nil {
			t.Fatal(err)
		}
	}
	near := func(key string, want float64) {
		t.Helper()
		if got := l.Ratio(key); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	near("a", 1)
	observe("a", 100, 150)
	near("a", 1.5) // more holds at once
	observe("a", 100, 110)
	near("a", 1.4) // less by and by
	observe("b", 100, 10_000)
	near("b", 4)
	for range 100 {
		observe("b", 100, 1)
	}
	if got := NewLearned(path).Ratio("b"); got > 0.53 {
		t.Errorf("b after a restart: %v", got)
	}
	if got := l.Ratio("b"); got < 0.5 || got > 0.51 {
		t.Errorf("b: %v, want the least", got)
	}
	observe("c", 0, 100)
	observe("c", 100, 0)
	near("c", 1)
	again := NewLearned(path)
	if again.Ratio("a") != l.Ratio("a") {
		t.Errorf("after a restart: %v, want %v", again.Ratio("a"), l.Ratio("a"))
	}
	if got := Corrected(map[string]int64{"cpu": 100, "gpu0": 10}, func(pool string) float64 { return map[string]float64{"cpu": 1.5, "gpu0": 1}[pool] }); got["cpu"] != 150 || got["gpu0"] != 10 {
		t.Errorf("corrected: %v", got)
	}
}

func TestLearnedIsBounded(t *testing.T) {
	l := NewLearned("")
	begun := time.Unix(1_800_000_000, 0)
	for i := range maxLearned + 10 {
		if err := l.Observe(fmt.Sprint(i), 100, 200, begun.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.entries) != maxLearned || l.Ratio("9") != 1 || l.Ratio("10") != 2 {
		t.Errorf("%d entries; the oldest %v, the next %v", len(l.entries), l.Ratio("9"), l.Ratio("10"))
	}
}

func TestLearnedSurvivesABadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.json")
	for _, text := range []string{"", "{", `[]`, `{"a":{"ratio":1e300}}`, `{"a":{"ratio":-1}}`, `{"a":{"ratio":null}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l := NewLearned(path)
		if l.Ratio("a") != 1 {
			t.Errorf("%q: %v", text, l.Ratio("a"))
		}
		if err := l.Observe("b", 1, 2, time.Unix(1, 0)); err != nil || NewLearned(path).Ratio("b") != 2 {
			t.Errorf("%q: is not written over: %v", text, err)
		}
	}
}
