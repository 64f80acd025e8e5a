package blob

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
)

// stock is files of 10 KiB each, and sources of them.
type stock struct {
	shas    []string
	sources []*fakeSource
}

func newStock(n int) *stock {
	s := &stock{}
	for i := range n {
		data, sha := content(uint64(100+i), 10*kib)
		s.shas = append(s.shas, sha)
		s.sources = append(s.sources, newSource(data))
	}
	return s
}

func (s *stock) fetch(r *rig, i int) error {
	r.Helper()
	return r.get(Want{SHA256: s.shas[i], Size: 10 * kib}, s.sources[i])
}

// there is the numbers of the files in the cache.
func (s *stock) there(r *rig) []int {
	var out []int
	for i, sha := range s.shas {
		if _, ok := r.Has(sha); ok {
			out = append(out, i)
		}
	}
	return out
}

func TestQuota(t *testing.T) {
	fake := clock.NewFake(time.Unix(1_800_000_000, 0))
	r := newRig(t, func(c *Config) { c.Quota = 35 * config.KiB })
	r.parts.Clock = fake
	s := newStock(6)
	for i := range 3 {
		if err := s.fetch(r, i); err != nil {
			t.Fatal(err)
		}
		fake.Advance(time.Minute)
	}
	r.Pin(s.shas[0])() // used last, and not any more
	fake.Advance(time.Minute)
	if err := s.fetch(r, 3); err != nil {
		t.Fatal(err)
	}
	if got := s.there(r); !slices.Equal(got, []int{0, 2, 3}) {
		t.Fatalf("there are %v: the least recently used was not the one that went", got)
	}
	for _, i := range []int{0, 2, 3} {
		t.Cleanup(r.Pin(s.shas[i]))
	}
	err := s.fetch(r, 4)
	e := apierr.From(err)
	if e.Reason != apierr.FailedPrecondition || e.Metadata["needed_bytes"] != "10240" || e.Metadata["missing_bytes"] != "5120" {
		t.Errorf("with all in use: %v, %v", err, e.Metadata)
	}
	if got := s.there(r); !slices.Equal(got, []int{0, 2, 3}) {
		t.Errorf("there are %v", got)
	}
	if got := r.Stats(); got.Evicted != 1 || got.EvictedBytes != 10*kib {
		t.Errorf("counted %+v", got)
	}
}

// What was used when is known after a restart.
func TestLastUseIsKept(t *testing.T) {
	fake := clock.NewFake(time.Unix(1_800_000_000, 0))
	r := newRig(t, func(c *Config) { c.Quota = 25 * config.KiB })
	r.parts.Clock = fake
	s := newStock(3)
	for _, i := range []int{0, 1} {
		if err := s.fetch(r, i); err != nil {
			t.Fatal(err)
		}
		fake.Advance(time.Minute)
	}
	r.Pin(s.shas[0])()
	r.reopen()
	if err := s.fetch(r, 2); err != nil {
		t.Fatal(err)
	}
	if got := s.there(r); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("there are %v", got)
	}
}

func TestDiskThatIsFull(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MinFree = 4 * config.KiB })
	s := newStock(3)
	if err := s.fetch(r, 0); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.disk = 18 * kib // 10 of them taken
	r.mu.Unlock()
	t.Cleanup(r.Pin(s.shas[0]))
	err := s.fetch(r, 1)
	if apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "more space") || len(s.sources[1].offsets()) != 0 {
		t.Errorf("got %v; asked for %v", err, s.sources[1].offsets())
	}
	r.mu.Lock()
	r.disk = 30 * kib
	r.mu.Unlock()
	if err := s.fetch(r, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.fetch(r, 2); err != nil { // in place of 1
		t.Fatal(err)
	}
	if got := s.there(r); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("there are %v", got)
	}
}

// What was fetched in part and is wanted no more makes room too.
func TestPartialsAreEvicted(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Quota, c.Attempts = 15*config.KiB, 1 })
	s := newStock(2)
	s.sources[0].cutAfter = []int{8 * kib}
	if err := s.fetch(r, 0); err == nil {
		t.Fatal("it came although it was cut")
	}
	if got := r.Stats(); got.Size != 8*kib || got.Files != 0 {
		t.Fatalf("counted %+v", got)
	}
	release := r.Pin(s.shas[0])
	if err := s.fetch(r, 1); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("while a model waits for it: %v", err)
	}
	release()
	if err := s.fetch(r, 1); err != nil {
		t.Fatal(err)
	}
	if got := r.files(dirPartials); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// Whatever is asked for in whatever order, with restarts and cuts: the quota
// holds, what is pinned stays, and what is served is right.
func TestNothingGoesWrong(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := newRig(t, func(c *Config) { c.Quota, c.Attempts = 45*config.KiB, 1 })
		s := newStock(10)
		pinned := make(map[int]func())
		for step := range 80 {
			i := rnd.IntN(len(s.shas))
			switch rnd.IntN(6) {
			case 0:
				if release, ok := pinned[i]; ok {
					release()
					delete(pinned, i)
				} else if _, ok := r.Has(s.shas[i]); ok && len(pinned) < 4 {
					pinned[i] = r.Pin(s.shas[i])
				}
			case 1:
				for i, release := range pinned {
					release()
					delete(pinned, i)
				}
				r.reopen()
			case 2:
				s.sources[i].mu.Lock()
				s.sources[i].cutAfter = []int{rnd.IntN(10 * kib)}
				s.sources[i].mu.Unlock()
				_ = s.fetch(r, i)
			default:
				if err := s.fetch(r, i); err != nil && apierr.ReasonOf(err) != apierr.FailedPrecondition && apierr.ReasonOf(err) != apierr.Unavailable {
					t.Fatalf("seed %d, step %d: %v", seed, step, err)
				}
			}
			if size := r.Stats().Size; size > 45*kib || size != onDisk(r) {
				t.Fatalf("seed %d, step %d: %d bytes counted, %d on the disk", seed, step, size, onDisk(r))
			}
			for i := range pinned {
				if _, ok := r.Has(s.shas[i]); !ok {
					t.Fatalf("seed %d, step %d: a pinned file went", seed, step)
				}
			}
		}
	}
}

func onDisk(r *rig) int64 {
	r.Helper()
	var n int64
	for _, dir := range []string{dirBlobs, dirPartials} {
		for _, name := range r.files(dir) {
			if info, err := os.Stat(r.path(dir) + "/" + name); err == nil && !strings.HasSuffix(name, suffixJournal) {
				n += info.Size()
			}
		}
	}
	return n
}
