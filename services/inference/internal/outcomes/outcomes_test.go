package outcomes_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/outcomes"
)

// registry counts as the real one does.
type registry struct {
	mu      sync.Mutex
	away    bool  // does not answer
	deaf    bool  // counts, and its answer is lost
	refuses int64 // the sequence of a batch that it never takes
	calls   int
	marks   map[string][2]int64
	counted map[string]int64 // requests by arm
	batches []*registryv1.OutcomeBatch
}

func (r *registry) ReportOutcomes(_ context.Context, in *registryv1.ReportOutcomesRequest, _ ...grpc.CallOption) (*registryv1.ReportOutcomesResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.away {
		return nil, apierr.New(apierr.Unavailable, "away")
	}
	for _, b := range in.GetBatches() {
		if r.refuses != 0 && b.GetSequence() == r.refuses {
			return nil, apierr.Invalid("batches", "never")
		}
	}
	for _, b := range in.GetBatches() {
		m := r.marks[b.GetReplica()]
		if b.GetEpoch() < m[0] || (b.GetEpoch() == m[0] && b.GetSequence() <= m[1]) {
			continue
		}
		r.marks[b.GetReplica()] = [2]int64{b.GetEpoch(), b.GetSequence()}
		r.batches = append(r.batches, b)
		for _, o := range b.GetOutcomes() {
			r.counted[o.GetArm()] += o.GetSums().GetRequests()
		}
	}
	if r.deaf {
		return nil, apierr.New(apierr.Unavailable, "the answer was lost")
	}
	return &registryv1.ReportOutcomesResponse{}, nil
}

func newRegistry() *registry {
	return &registry{marks: make(map[string][2]int64), counted: make(map[string]int64)}
}

// process is a replica as far as it counts.
type process struct {
	*outcomes.Recorder
	spool *outcomes.Spool
	end   func()
}

func start(t *testing.T, dir string, r *registry, maxBytes int64) *process {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	spool, err := outcomes.OpenSpool(dir, maxBytes, func() string { return "replica" })
	if err != nil {
		t.Fatal(err)
	}
	rec := outcomes.NewRecorder(outcomes.Options{
		Spool: spool, Clock: clock.Real(), Log: log, Interval: time.Second, Queue: 100, Segments: map[string]string{"acme": "gold"},
	})
	send := &outcomes.Sender{
		Spool: spool, Registry: r, Clock: clock.Real(), Log: log,
		Backoff: backoff.Policy{Base: 100 * time.Millisecond, Max: time.Second}, Refused: rec.Refused,
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = rec.Run(ctx) })
	wg.Go(func() { _ = send.Run(ctx) })
	return &process{rec, spool, sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		_ = send.Finish(context.WithoutCancel(ctx))
		if err := spool.Close(); err != nil {
			t.Error(err)
		}
	})}
}

func model(t *testing.T, labels map[string]string) *catalog.Model {
	t.Helper()
	s := catalog.NewSnapshot(1, []*registryv1.ModelState{{
		Model:    &registryv1.Model{Name: "m", Labels: labels},
		Versions: []*registryv1.Version{{Model: "m", Number: 1, Digest: "sha256:1"}, {Model: "m", Number: 2, Digest: "sha256:2"}},
		Split: &registryv1.Split{Etag: "7", Salt: "s", Arms: []*registryv1.Arm{
			{Name: "a", Version: 1, Weight: 900_000}, {Name: "b", Version: 2, Weight: 100_000},
		}},
	}})
	m, _ := s.Model("m")
	return m
}

func answer(m *catalog.Model, key string) outcomes.Outcome {
	return outcomes.Outcome{
		Model: m, Target: catalog.Target{Version: m.Arms[0].Version, Arm: "a", Division: m.Division}, Key: key, Tenant: "acme",
		Duration: 2 * time.Second, First: time.Second, PromptTokens: 1000, OutputTokens: 11,
	}
}

func TestWhatIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry()
		p := start(t, "", r, 1<<20)
		m := model(t, map[string]string{outcomes.LabelInputPrice: "2", outcomes.LabelOutputPrice: "10", outcomes.LabelOutputPrice + ".v1": "100"})
		o := answer(m, "ana")
		p.Record(o)
		o.Refused = true
		p.Record(o)
		o.Key = "ben"
		for _, reason := range []apierr.Reason{apierr.EngineFailed, apierr.DeadlineExceeded, apierr.Overloaded, apierr.Cancelled, apierr.InvalidArgument} {
			o.Reason = reason
			p.Record(o)
		}
		<-time.After(1500 * time.Millisecond)
		p.end()
		if len(r.batches) != 1 {
			t.Fatalf("%d batches", len(r.batches))
		}
		b := r.batches[0]
		if len(b.GetOutcomes()) != 1 || b.GetEndTime().AsTime().Sub(b.GetStartTime().AsTime()) != time.Second {
			t.Fatalf("the batch is %v", b)
		}
		got := b.GetOutcomes()[0]
		s := got.GetSums()
		if got.GetModel() != "m" || got.GetArm() != "a" || got.GetVersion() != 1 || got.GetDigest() != "sha256:1" || got.GetSegment() != "gold" {
			t.Errorf("it is of %v", got)
		}
		if s.GetRequests() != 5 || s.GetErrors() != 3 || s.GetRefusals() != 1 || s.GetCancelled() != 1 || s.GetRejected() != 1 {
			t.Errorf("counts are %v", s)
		}
		// 1000 tokens at 2 and 11 at 100, per million.
		if c := s.GetCost(); c.GetCount() != 2 || math.Abs(c.GetSum()-2*0.0031) > 1e-12 {
			t.Errorf("cost is %v", c)
		}
		if x := s.GetTokensPerSecond(); x.GetCount() != 2 || x.GetSum() != 20 || x.GetSumSquares() != 200 {
			t.Errorf("tokens a second are %v", x)
		}
		if d := s.GetDuration().GetCounts(); len(d) != 89 || d[88] != 2 { // 2^(87/8) = 1878, 2^(88/8) = 2048 ms
			t.Errorf("durations are %v", d)
		}
		e := b.GetExposures()
		if len(e) != 1 || e[0].GetEtag() != "7" || len(e[0].GetShares()) != 2 || len(e[0].GetShares()[0].GetSubjects()) != 2 ||
			e[0].GetShares()[1].GetWeight() != 100_000 {
			t.Errorf("exposures are %v", e)
		}
	})
}

// A registry that is away, whose answers are lost, and a process that starts anew:
// every request is counted once.
func TestExactlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, r, m := t.TempDir(), newRegistry(), model(t, nil)
		set := func(fn func()) { r.mu.Lock(); fn(); r.mu.Unlock() }
		want := int64(0)
		for round := range 6 {
			p := start(t, dir, r, 1<<20)
			set(func() { r.away = round%3 == 0; r.deaf = round%3 == 1 })
			for i := range 50 {
				p.Record(answer(m, fmt.Sprint(round, i)))
				want++
				<-time.After(100 * time.Millisecond)
			}
			p.end()
		}
		set(func() { r.away, r.deaf = false, false })
		p := start(t, dir, r, 1<<20)
		<-time.After(5 * time.Second)
		if n, _, _ := p.spool.Held(); n != 0 {
			t.Errorf("%d batches are left", n)
		}
		p.end()
		if r.counted["a"] != want {
			t.Errorf("%d requests are counted of %d", r.counted["a"], want)
		}
	})
}

func TestWhatIsDroppedIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newRegistry(), model(t, nil)
		r.away = true
		p := start(t, t.TempDir(), r, 2000)
		total := int64(0)
		for i := range 100 {
			for range 3 {
				p.Record(answer(m, fmt.Sprint(i)))
				total++
			}
			<-time.After(time.Second)
		}
		_, bytes, _ := p.spool.Held()
		if bytes > 2000 || p.Dropped() == 0 {
			t.Errorf("%d bytes are held, %d requests dropped", bytes, p.Dropped())
		}
		r.mu.Lock()
		r.away = false
		r.mu.Unlock()
		<-time.After(5 * time.Second)
		p.Record(answer(m, "last"))
		<-time.After(2 * time.Second)
		p.end()
		var told int64
		for _, b := range r.batches {
			told += b.GetDropped()
		}
		if got := r.counted["a"] + told; got != total+1 || told != p.Dropped() {
			t.Errorf("%d counted and %d told as dropped, of %d; dropped are %d", r.counted["a"], told, total+1, p.Dropped())
		}
	})
}

// A batch that is refused for ever holds up nothing.
func TestARefusedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newRegistry(), model(t, nil)
		r.refuses, r.away = 2, true
		p := start(t, "", r, 1<<20)
		<-time.After(500 * time.Millisecond) // each has a batch of its own
		for range 4 {
			p.Record(answer(m, "ana"))
			<-time.After(time.Second)
		}
		r.mu.Lock()
		r.away = false
		r.mu.Unlock()
		<-time.After(5 * time.Second)
		p.end()
		if r.counted["a"] != 3 || p.Dropped() != 1 {
			t.Errorf("%d counted, %d dropped", r.counted["a"], p.Dropped())
		}
	})
}

func TestSpoolSurvives(t *testing.T) {
	dir := t.TempDir()
	id := func() string { return "first" }
	s, err := outcomes.OpenSpool(dir, 1<<20, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := outcomes.OpenSpool(dir, 1<<20, id); err == nil {
		t.Fatal("two processes use one spool")
	}
	for range 3 {
		if err := s.Append(&registryv1.OutcomeBatch{Dropped: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Done(1); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A write that was cut off, a batch that the disk damaged, and something else.
	for name, text := range map[string]string{"0000000001-0000000009.batch.new": "x", "0000000001-0000000007.batch": "\xff", "notes.txt": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := outcomes.OpenSpool(dir, 1<<20, func() string { return "second" })
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Append(&registryv1.OutcomeBatch{Dropped: 2}); err != nil {
		t.Fatal(err)
	}
	got, err := again.Oldest(10)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range got {
		names = append(names, fmt.Sprintf("%s %d %d", b.GetReplica(), b.GetEpoch(), b.GetSequence()))
	}
	if want := "first 1 2, first 1 3, first 2 1"; strings.Join(names, ", ") != want {
		t.Errorf("it holds %s, want %s", strings.Join(names, ", "), want)
	}
	if _, _, broken := again.Held(); broken != 1 {
		t.Errorf("%d are broken", broken)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := outcomes.OpenSpool(dir, 1<<20, id); err == nil || errors.Is(err, outcomes.ErrFull) {
		t.Errorf("a damaged state is taken: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]bool{
		`{"choices":[{"finish_reason":"content_filter"}]}`:                      true,
		`{"choices":[{"finish_reason" : "content_filter"}]}`:                    true,
		`{"choices":[{"message":{"refusal":"I cannot"}}]}`:                      true,
		`{"choices":[{"message":{"refusal": null},"finish_reason":"stop"}]}`:    false,
		`{"choices":[{"message":{"refusal":""}}]}`:                              false,
		`{"content":"\"finish_reason\":\"content_filter\" \"refusal\":\"no\""}`: false,
		`{"content":"content_filter","finish_reason":"length"}`:                 false,
		``: false, `"refusal"`: false, `"refusal":`: false,
	} {
		if got := outcomes.Refused([]byte(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func FuzzRefused(f *testing.F) {
	f.Add([]byte(`{"refusal":"x","finish_reason":"content_filter"}`))
	f.Fuzz(func(_ *testing.T, raw []byte) { outcomes.Refused(raw) })
}

// BenchmarkRecord is what counting costs a request.
func BenchmarkRecord(b *testing.B) {
	spool, err := outcomes.OpenSpool("", 1<<30, func() string { return "replica" })
	if err != nil {
		b.Fatal(err)
	}
	rec := outcomes.NewRecorder(outcomes.Options{Spool: spool, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), Interval: time.Second, Queue: 8192})
	go func() { _ = rec.Run(b.Context()) }()
	s := catalog.NewSnapshot(1, []*registryv1.ModelState{{Model: &registryv1.Model{Name: "m"}, Versions: []*registryv1.Version{{Number: 1}}}})
	m, _ := s.Model("m")
	o := outcomes.Outcome{Model: m, Target: catalog.Target{Version: m.Versions[0]}, Key: "ana", Duration: time.Second, First: time.Millisecond, OutputTokens: 10}
	chunk := []byte(`{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}`)
	b.Run("record", func(b *testing.B) {
		for b.Loop() {
			rec.Record(o)
		}
	})
	b.Run("refused", func(b *testing.B) {
		for b.Loop() {
			outcomes.Refused(chunk)
		}
	})
	b.ReportMetric(float64(rec.Dropped()), "dropped")
}
