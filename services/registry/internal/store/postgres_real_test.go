//go:build real

package store_test

import (
	"context"
	"testing"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

func TestRealPostgres(t *testing.T) { suite{storetest.Postgres(t)}.run(t) }

// A commit of one replica wakes the others.
func TestRealPostgresTellsOfCommits(t *testing.T) {
	cfg := storetest.Postgres(t)(t)
	writer := storetest.Open(t, cfg, store.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	woken := make(chan struct{}, 16)
	ended := make(chan error, 1)
	go func() { ended <- store.Listen(ctx, cfg, func() { woken <- struct{}{} }) }()
	<-woken // it listens
	for i := range 3 {
		if _, err := writer.CreateModel(ctx, "", &registryv1.Model{Name: string(rune('a' + i))}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-woken:
		case <-ctx.Done():
			t.Fatal("nothing was heard of a commit")
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("listening ended without an error")
	}
}
