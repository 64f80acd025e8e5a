package ingest

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/store"
)

// A list of a million values is refused for its size. Were it looked into first,
// or each value compared with all others, the test would not end in time.
func TestTheSizeOfMetadataComesFirst(t *testing.T) {
	list := make([]any, 1_000_000)
	for i := range list {
		list[i] = float64(i)
	}
	_, err := checkMetadata(map[string]any{"list": list})
	if err == nil || err.Field != "metadata" || !strings.Contains(err.Message, "bytes as JSON") {
		t.Errorf("got %v", err)
	}
	if _, err := checkMetadata(map[string]any{"n": math.NaN()}); err == nil || !strings.Contains(err.Message, "finite") {
		t.Errorf("what JSON cannot say: %v", err)
	}
}

// A caller who left is not worked for.
func TestPrepareEndsWithItsContext(t *testing.T) {
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	docs := []Input{{ID: "a", Text: "one"}}
	_, err := New(Options{}).prepare(ctx, store.Collection{}, store.Rights{}, docs, make([]Result, 1))
	if !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}
