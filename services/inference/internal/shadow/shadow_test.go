package shadow

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/services/inference/internal/catalog"
)

func TestText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		parts []string
		want  string
		ok    bool
	}{
		"an answer":    {[]string{`{"choices":[{"index":1,"message":{"content":"no"}},{"index":0,"message":{"content":"yes"}}]}`}, "yes", true},
		"a completion": {[]string{`{"choices":[{"text":"yes"}]}`}, "yes", true},
		"chunks":       {[]string{`{"choices":[{"delta":{"role":"assistant"}}]}`, `{"choices":[{"delta":{"content":"ye"}}]}`, `{"choices":[{"delta":{"content":"s"}}]}`, `{"choices":[]}`}, "yes", true},
		"a tool":       {[]string{`{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}`}, "f{}", true},
		"nothing":      {nil, "", true},
		"no JSON":      {[]string{`{"choices":[{`}, "", false},
		"another form": {[]string{`[1]`}, "", false},
	} {
		var parts [][]byte
		for _, p := range c.parts {
			parts = append(parts, []byte(p))
		}
		if got, ok := textOf(parts); got != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte(`{"choices":[{"message":{"content":"yes"}}]}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		text, _ := textOf([][]byte{data, data})
		_ = similarity(text, string(data))
	})
}

func TestSimilarity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want float64
	}{
		{"", "", 1},
		{"a", "", 0},
		{"a b c", "a b c", 1},
		{"a  b\nc", "a b c", 1},
		{"a b c d", "a b x d", 2.0 * 3 / 10},
		{"a b", "c d", 0},
		{"a a a", "a a", 2.0 * 3 / 7},
	} {
		if got := similarity(c.a, c.b); math.Abs(got-c.want) > 1e-9 || got != similarity(c.b, c.a) {
			t.Errorf("%q and %q: %v, want %v", c.a, c.b, got, c.want)
		}
	}
	long := strings.Repeat("word ", 1<<20)
	if got := similarity(long, long); got != 1 {
		t.Errorf("long ones: %v", got)
	}
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := budgets{now: time.Now, of: make(map[name]*bucket), swept: time.Now()}
		s := &catalog.Shadow{Experiment: "x", Version: &catalog.Version{Model: "m"}, Requests: 6, Tokens: 600}
		taken := func(n int) (got int) {
			for range n {
				if b.take(s) {
					got++
				}
			}
			return got
		}
		if got := taken(10); got != 6 {
			t.Fatalf("%d at once, want 6", got)
		}
		<-time.After(20 * time.Second)
		if got := taken(10); got != 2 {
			t.Errorf("%d after a third of a minute, want 2", got)
		}
		b.use(s, 900)
		<-time.After(30 * time.Second)
		if got := taken(10); got != 0 {
			t.Errorf("%d while tokens are owed", got)
		}
		<-time.After(time.Minute)
		if got := taken(10); got != 6 {
			t.Errorf("%d after that, want 6", got)
		}
		other := *s
		other.Experiment = "y"
		if !b.take(&other) {
			t.Error("budgets are shared")
		}
		free := &catalog.Shadow{Experiment: "z", Version: s.Version}
		for range 1000 {
			b.use(free, 1<<20)
			if !b.take(free) {
				t.Fatal("one without a limit is limited")
			}
		}
		<-time.After(10 * time.Minute)
		if b.take(s); len(b.of) != 1 {
			t.Errorf("%d buckets are remembered", len(b.of))
		}
	})
}
