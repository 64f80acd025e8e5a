package imports

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/store"
)

// slow takes that long for a batch.
type slow struct{ takes time.Duration }

func (s slow) Upsert(ctx context.Context, _ store.Collection, _ store.Rights, docs []ingest.Input, _ bool) ([]ingest.Result, int64, error) {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	out := make([]ingest.Result, len(docs))
	for i, d := range docs {
		out[i] = ingest.Result{ID: d.ID, Status: ingest.Created}
	}
	return out, 1, nil
}

func (slow) Collection(context.Context, string, string) (store.Collection, error) {
	return store.Collection{}, nil
}

func (slow) CatchUpServing(context.Context, store.Collection, int64) error { return nil }

// turns is a sender that sends a line at a time and waits for its verdict; after
// the last it is silent for that long.
type turns struct {
	ctx     context.Context
	left    int
	silence time.Duration
	next    chan struct{}
}

func (s *turns) Recv() ([]Line, error) {
	wait := s.next
	if s.left == 0 {
		wait = nil
	}
	select {
	case <-wait:
		s.left--
		return []Line{{Document: ingest.Input{ID: "a"}}}, nil
	case <-after(s.left == 0, s.silence):
		return nil, io.EOF
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
}

func after(when bool, d time.Duration) <-chan time.Time {
	if !when {
		return nil
	}
	return time.After(d)
}

func (s *turns) Send(verdicts []Verdict, _ Progress) error {
	if len(verdicts) > 0 {
		s.next <- struct{}{}
	}
	return nil
}

// Who waits for verdicts is not idle, however long they take; who is silent for
// no reason is.
func TestASenderThatWaitsIsNotIdle(t *testing.T) {
	for name, tc := range map[string]struct {
		silence time.Duration
		want    apierr.Reason
	}{
		"waits":  {time.Second, ""},
		"silent": {time.Hour, apierr.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := slow{5 * time.Minute}
				m := New(Options{
					Collections: w, Ingester: w, Indexes: w, Clock: clock.Real(), BatchDocuments: 10, BatchBytes: 1 << 20, Window: 1,
					Linger: time.Millisecond, Heartbeat: 10 * time.Second, Idle: 2 * time.Minute, Streams: 1, TenantStreams: 1,
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s := &turns{ctx: ctx, left: 3, silence: tc.silence, next: make(chan struct{}, 1)}
				s.next <- struct{}{}
				err := m.Run(ctx, Request{By: store.Rights{All: true}, Wait: true}, s)
				if err == nil && tc.want != "" || err != nil && apierr.ReasonOf(err) != tc.want {
					t.Errorf("it ended with %v", err)
				}
			})
		})
	}
}
