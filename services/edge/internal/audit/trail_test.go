package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
)

// memorySink keeps records and can be made to fail.
type memorySink struct {
	mu      sync.Mutex
	records []Record
	batches int
	fail    error
}

func (s *memorySink) Write(_ context.Context, batch []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.records = append(s.records, batch...)
	s.batches++
	return nil
}

func (s *memorySink) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *memorySink) ids() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		out = append(out, r.ID)
	}
	return out
}

var errDisk = errors.New("the disk is full")

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type setup struct {
	*Trail
	sink *memorySink
	log  *logBuffer
}

// newSetup is for use in a synctest bubble, whose time the real clock shows.
func newSetup(change func(*Config)) setup {
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s := setup{sink: new(memorySink), log: new(logBuffer)}
	s.Trail = NewTrail(cfg, s.sink, clock.Real(), slog.New(slog.NewTextHandler(s.log, nil)), nil)
	return s
}

// run runs the trail as a process does, and returns what ends it.
func (s setup) run(ctx context.Context) (end func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, s.Component()) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-done
	}
}

func wait(ctx context.Context, t *testing.T, d time.Duration) {
	t.Helper()
	if err := clock.Sleep(ctx, clock.Real(), d); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func wanted(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, sample(i).ID)
	}
	return out
}

func TestTrailWritesInBatchesAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(nil)
		end := s.run(t.Context())
		for i := range 20 {
			_ = s.Append(t.Context(), sample(i))
		}
		wait(t.Context(), t, 2*DefaultConfig().FlushInterval)
		if got := s.sink.ids(); !slices.Equal(got, wanted(0, 20)) || s.sink.batches != 1 {
			t.Fatalf("%d batches, %v", s.sink.batches, got)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTrailDoesNotWaitWithAWholeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(func(c *Config) { c.FlushInterval = time.Minute })
		end := s.run(t.Context())
		for i := range maxBatch {
			_ = s.Append(t.Context(), sample(i))
		}
		synctest.Wait()
		if n := len(s.sink.ids()); n != maxBatch {
			t.Fatalf("%d written at once", n)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTrailIsWrittenBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(func(c *Config) { c.FlushInterval = time.Minute })
		end := s.run(t.Context())
		for i := range 3*maxBatch + 7 {
			_ = s.Append(t.Context(), sample(i))
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if got := s.sink.ids(); !slices.Equal(got, wanted(0, 3*maxBatch+7)) {
			t.Fatalf("%d of %d were written", len(got), 3*maxBatch+7)
		}
	})
}

func TestTrailTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(nil)
		end := s.run(t.Context())
		s.sink.set(errDisk)
		for i := range 10 {
			_ = s.Append(t.Context(), sample(i))
		}
		wait(t.Context(), t, 10*time.Second)
		if !strings.Contains(s.log.String(), errDisk.Error()) {
			t.Error("nobody is told that the trail cannot be written")
		}
		s.sink.set(nil)
		wait(t.Context(), t, 2*maxRetry)
		if got := s.sink.ids(); !slices.Equal(got, wanted(0, 10)) {
			t.Fatalf("written after the failure: %v", got)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTrailTellsTheLogWhatItCannotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(nil)
		end := s.run(t.Context())
		s.sink.set(errDisk)
		_ = s.Append(t.Context(), sample(7))
		if err := end(); !errors.Is(err, errDisk) {
			t.Fatalf("the end: %v", err)
		}
		if !strings.Contains(s.log.String(), "req-7") {
			t.Fatalf("the record is nowhere: %s", s.log.String())
		}
	})
}

func TestFullTrailHoldsRequestsBackAndThenLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(func(c *Config) { c.QueueSize = 2 })
		end := s.run(t.Context())
		s.sink.set(errDisk)
		for i := range 2 {
			_ = s.Append(t.Context(), sample(i))
		}
		if err := s.Admit(t.Context()); err != nil {
			t.Fatalf("a request is refused though it should be served: %v", err)
		}
		before := time.Now()
		_ = s.Append(t.Context(), sample(2))
		if took := time.Since(before); took != DefaultConfig().FullWait {
			t.Fatalf("waited %v", took)
		}
		if !strings.Contains(s.log.String(), "req-2") {
			t.Fatal("a record was lost in silence")
		}

		// When there is room again within the wait, nothing is lost.
		s.sink.set(nil)
		wait(t.Context(), t, 2*maxRetry)
		_ = s.Append(t.Context(), sample(3))
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if got := s.sink.ids(); !slices.Equal(got, []string{"id-0000", "id-0001", "id-0003"}) {
			t.Fatalf("written: %v", got)
		}
	})
}

func TestFullTrailRefusesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(func(c *Config) { c.QueueSize, c.OnFull = 2, FullRefuse })
		end := s.run(t.Context())
		s.sink.set(errDisk)
		for range 2 {
			if err := s.Admit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// Both places are taken by requests that are still in hand.
		if err := s.Admit(t.Context()); apierr.ReasonOf(err) != apierr.Unavailable {
			t.Fatalf("a request that cannot be recorded: %v", err)
		}
		s.sink.set(nil)
		for i := range 2 {
			_ = s.Append(t.Context(), sample(i))
		}
		wait(t.Context(), t, time.Second)
		if err := s.Admit(t.Context()); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		_ = s.Append(t.Context(), sample(2))
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if got := s.sink.ids(); !slices.Equal(got, wanted(0, 3)) {
			t.Fatalf("written: %v", got)
		}
	})
}

func TestManyAppendAtOnce(t *testing.T) {
	s := newSetup(func(c *Config) { c.QueueSize, c.FullWait = 16, time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, s.Component()) }()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				r := sample(i)
				r.ID = fmt.Sprintf("%d-%03d", g, i)
				_ = s.Append(ctx, r)
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	last := make(map[byte]string)
	for _, id := range s.sink.ids() {
		if id <= last[id[0]] {
			t.Fatalf("%s after %s", id, last[id[0]])
		}
		last[id[0]] = id
	}
	if n := len(s.sink.ids()); n != 400 {
		t.Fatalf("%d of 400 were written", n)
	}
}

func TestListingShowsWhatWasJustAppended(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	trail := NewTrail(DefaultConfig(), sink, clock.Real(), slog.New(slog.DiscardHandler), nil)
	_ = trail.Append(t.Context(), sample(1)) // nothing runs that would write it
	got, err := trail.Listing(sink).List(t.Context(), Query{Limit: 10})
	if err != nil || len(got) != 1 || got[0].ID != sample(1).ID {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestEntry(t *testing.T) {
	var none *Entry
	none.SetServedBy("x") // outside of a request nothing is kept
	if From(t.Context()) != nil || !reflect.DeepEqual(none.Record(), Record{}) {
		t.Fatal("an entry out of nowhere")
	}
	e := new(Entry)
	ctx := NewContext(t.Context(), e)
	From(ctx).SetServedBy("m@v3")
	From(ctx).SetArm("x", "b")
	From(ctx).SetTokens(1, 2)
	From(ctx).SetCaller("acme", "ada")
	From(ctx).SetKeyID("k")
	From(ctx).SetResource(strings.Repeat("x", 1000))
	want := Record{
		ServedBy: "m@v3", Experiment: "x", Arm: "b", PromptTokens: 1, CompletionTokens: 2, Tenant: "acme", Subject: "ada", KeyID: "k",
		Resource: strings.Repeat("x", 256),
	}
	if got := e.Record(); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v", got)
	}
}

// slowSink writes when it is let.
type slowSink struct{ began, let chan struct{} }

func (s slowSink) Write(context.Context, []Record) error {
	s.began <- struct{}{}
	<-s.let
	return nil
}

func (slowSink) Close() error { return nil }

// The end comes while a batch is being written for somebody who lists.
func TestTheEndDuringAListing(t *testing.T) {
	sink := slowSink{make(chan struct{}), make(chan struct{})}
	var log strings.Builder
	trail := NewTrail(DefaultConfig(), sink, clock.Real(), slog.New(slog.NewTextHandler(&log, nil)), nil)
	_ = trail.Append(t.Context(), sample(1))
	listed := make(chan error, 1)
	go func() { listed <- trail.Flush(t.Context()) }()
	<-sink.began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trail.Component().Stop(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(log.String(), "req-1") {
		t.Fatalf("the end: %v; logged %s", err, log.String())
	}
	close(sink.let)
	if err := <-listed; err != nil {
		t.Error(err)
	}
}
