package store_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/services/registry/internal/store"
)

// A database from before webhooks keeps what it holds when it is brought up to
// date, and when it is taken back.
func (s suite) webhookMigration(t *testing.T) {
	ctx := t.Context()
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	e.version("m", 1)
	old := e.state("m")
	provider := e.migrations()
	for range 2 {
		_, err := provider.DownTo(ctx, 8)
		check(t, err)
		_, err = e.raw().ExecContext(ctx, `SELECT 1 FROM registry_webhooks`)
		if err == nil {
			t.Error("the table is there after going back")
		}
		_, err = provider.Up(ctx)
		check(t, err)
		if got := e.state("m"); !proto.Equal(got, old) {
			t.Errorf("%v\nwant %v", got, old)
		}
		e.webhook("a", nil, nil)
		e.version("m", 2)
		old = e.state("m")
		if len(e.deliveries("a")) > 1 {
			t.Error("noted twice")
		}
	}
}
