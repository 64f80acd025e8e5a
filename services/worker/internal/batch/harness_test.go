package batch

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// fakeEngine computes one call at a time, in callTime and tokenTime for each
// token. A text that begins with `bad` is refused, and the whole call with it;
// one that begins with `boom` makes the call fail, and so does `once` the first
// time that it is seen.
type fakeEngine struct {
	t                   *testing.T
	limits              engine.EmbedLimits
	callTime, tokenTime time.Duration
	err                 error // of every call

	lane  chan struct{} // a mutex is not what a bubble's time waits for
	mu    sync.Mutex
	calls []engine.EmbedRequest
	given int64 // tokens that were told
	gone  int   // calls whose context ended
	seen  map[string]bool
}

func newFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	return &fakeEngine{
		t: t, limits: engine.EmbedLimits{Inputs: 8, Tokens: 100, Calls: 1}, callTime: 10 * time.Millisecond,
		lane: make(chan struct{}, 1), seen: make(map[string]bool),
	}
}

func (f *fakeEngine) EmbedLimits(engine.EmbedRequest) (engine.EmbedLimits, error) {
	return f.limits, nil
}

// tokensOf is what the engine counts, which is not what LeastTokens does.
func tokensOf(in engine.Input) int {
	if len(in.Tokens) > 0 {
		return len(in.Tokens)
	}
	return len(in.Text)/3 + 2
}

func vectorOf(in engine.Input, dimensions int) []float32 {
	h := fnv.New64a()
	_ = json.NewEncoder(h).Encode(in)
	n := h.Sum64()
	return []float32{float32(n % 1000003), float32(n >> 40), float32(dimensions)}
}

func (f *fakeEngine) Embed(ctx context.Context, r engine.EmbedRequest) (engine.Embeddings, error) {
	f.lane <- struct{}{}
	defer func() { <-f.lane }()
	f.note(r)
	total := 0
	out := engine.Embeddings{}
	for _, in := range r.Inputs {
		total += tokensOf(in)
		out.Vectors = append(out.Vectors, vectorOf(in, r.Dimensions))
	}
	if clock.Sleep(ctx, clock.Real(), f.callTime+time.Duration(total)*f.tokenTime) != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.gone++
		return engine.Embeddings{}, context.Cause(ctx)
	}
	if err := f.fault(r); err != nil {
		return engine.Embeddings{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.given += int64(total)
	out.Usage = &commonv1.TokenUsage{PromptTokens: int32(total), CachedPromptTokens: int32(total / 2)}
	return out, nil
}

func (f *fakeEngine) note(r engine.EmbedRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, r)
	tokens := 0
	for _, in := range r.Inputs {
		tokens += in.LeastTokens()
		if (len(in.Tokens) > 0) != (len(r.Inputs[0].Tokens) > 0) {
			f.t.Error("texts and tokens in one call")
		}
	}
	if n := len(r.Inputs); n == 0 || n > f.limits.Inputs || n > 1 && tokens > f.limits.Tokens {
		f.t.Errorf("%d inputs with %d tokens in one call", n, tokens)
	}
}

var errBoom = apierr.New(apierr.EngineFailed, "boom")

func (f *fakeEngine) fault(r engine.EmbedRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	for _, in := range r.Inputs {
		switch {
		case strings.HasPrefix(in.Text, "bad"):
			return apierr.New(apierr.InvalidArgument, "%s is refused", in.Text)
		case strings.HasPrefix(in.Text, "boom"), strings.HasPrefix(in.Text, "once") && !f.seen[in.Text]:
			f.seen[in.Text] = true
			return errBoom
		}
	}
	return nil
}

// sizes is how many inputs each call had.
func (f *fakeEngine) sizes() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []int
	for _, c := range f.calls {
		out = append(out, len(c.Inputs))
	}
	return out
}

// watched notes what a Batcher tells.
type watched struct {
	mu        sync.Mutex
	waits     []time.Duration
	splits    map[Cause]int
	unclaimed int64
}

func (w *watched) Sent(int, int) {}

func (w *watched) Waited(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits = append(w.waits, d)
}

func (w *watched) Split(c Cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.splits[c]++
}

func (w *watched) Unclaimed(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unclaimed += int64(n)
}

// rig is a Batcher before a fakeEngine, in a bubble of fake time.
type rig struct {
	*testing.T
	engine  *fakeEngine
	batcher *Batcher
	sees    *watched
}

func inBubble(t *testing.T, cfg Config, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.MaxBatchBytes = max(cfg.MaxBatchBytes, 1<<10)
		if cfg.MaxHeldBytes == 0 {
			cfg.MaxHeldBytes = 1 << 20
		}
		sees := &watched{splits: make(map[Cause]int)}
		r := &rig{T: t, engine: newFakeEngine(t), sees: sees, batcher: New(cfg, clock.Real(), sees)}
		test(r)
		synctest.Wait()
		b := r.batcher
		if b.held != 0 || b.running != 0 || len(b.queue.groups) != 0 || len(b.again) != 0 {
			t.Errorf("left behind: %d bytes, %d running, %d groups, %d parts", b.held, b.running, len(b.queue.groups), len(b.again))
		}
	})
}

// answer is what a caller got, and after how long.
type answer struct {
	out  engine.Embeddings
	err  error
	took time.Duration
}

// ask embeds in a goroutine of its own.
func (r *rig) ask(ctx context.Context, of engine.EmbedRequest) <-chan answer {
	done := make(chan answer, 1)
	begun := time.Now()
	go func() {
		out, err := r.batcher.Embed(ctx, r.engine, of, 4)
		done <- answer{out, err, time.Since(begun)}
	}()
	synctest.Wait()
	return done
}

func (r *rig) texts(list ...string) <-chan answer { return r.ask(r.Context(), request(list...)) }

func request(list ...string) engine.EmbedRequest {
	var of engine.EmbedRequest
	for _, text := range list {
		of.Inputs = append(of.Inputs, engine.Input{Text: text})
	}
	return of
}

// running is how many batches the engine has.
func (r *rig) running() int {
	r.batcher.mu.Lock()
	defer r.batcher.mu.Unlock()
	return r.batcher.running
}

// check fails unless a holds the request's own vectors.
func (r *rig) check(of engine.EmbedRequest, a answer) {
	r.Helper()
	if a.err != nil {
		r.Errorf("%.40v: %v", of.Inputs, a.err)
		return
	}
	if len(a.out.Vectors) != len(of.Inputs) {
		r.Errorf("%d vectors for %d inputs", len(a.out.Vectors), len(of.Inputs))
		return
	}
	for i, in := range of.Inputs {
		if !slices.Equal(a.out.Vectors[i], vectorOf(in, of.Dimensions)) {
			r.Errorf("input %d has another's vector", i)
		}
	}
}

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }
