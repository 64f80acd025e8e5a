package rebuild

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/search/internal/store"
)

// A collection that is deleted while it is embedded anew is no failure to wait
// for, and nothing of it is remembered.
func TestADeletedCollectionIsForgotten(t *testing.T) {
	s, c, p := setup(t, 3)
	create(t, s, c)
	p.hang = make(chan struct{})
	var log bytes.Buffer
	b := builder(s, p, "a", func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	stop := start(t, b)
	defer stop()
	<-p.hanging
	_, err := s.DeleteCollection(t.Context(), "acme", "c", store.Rights{All: true})
	check(t, err)
	b.mu.Lock()
	b.rests["another that was deleted"] = rest{pause: time.Minute}
	b.mu.Unlock()
	close(p.hang)
	deadline := time.After(10 * time.Second)
	for {
		b.mu.Lock()
		rests := len(b.rests)
		b.mu.Unlock()
		if rests == 0 {
			break
		}
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatal("it is remembered")
		}
	}
	stop()
	if strings.Contains(log.String(), "waits") {
		t.Errorf("logged %s", log.String())
	}
}
