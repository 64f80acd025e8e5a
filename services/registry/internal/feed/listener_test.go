package feed_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/registry/internal/feed"
)

// The listener is started again when it fails, and wakes the feed.
func TestListenerIsKeptGoing(t *testing.T) {
	source := &fakeSource{revision: 1}
	clk := clock.NewFake(time.Unix(0, 0))
	started := make(chan func())
	fail := make(chan error)
	f := feed.New(source, feed.Options{Clock: clk, Poll: time.Hour, Listen: func(ctx context.Context, wake func()) error {
		select {
		case started <- wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Follow(ctx) }()
	<-started
	fail <- errors.New("connection lost")
	if err := clk.BlockUntil(t.Context(), 2); err != nil { // the poll's timer and the pause
		t.Fatal(err)
	}
	clk.Advance(2 * time.Hour)
	wake := <-started

	r := &rig{t: t, source: source, feed: f}
	w := r.watch(1)
	w.wantHeartbeat(1)
	source.set(func(s *fakeSource) { s.revision = 2 })
	wake()
	w.wantChange(2)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
