package quantize

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/quantize/quantizetest"
)

// A launcher whose child holds its output open keeps nobody longer than they wait,
// neither who asked nor who waits for their turn to ask.
func TestOfferEndsWithItsCaller(t *testing.T) {
	path := filepath.Join(t.TempDir(), "llama-quantize")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nsleep 60\necho done\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(_ *Config, p *Parts) { p.Quantize = quantizetest.Program(path) })
	ask := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := r.maker.Offer(ctx)
		return err
	}
	begun, first := time.Now(), make(chan error, 1)
	go func() { first <- ask(3 * time.Second) }()
	soon(t, "it is asked", func() bool { return len(r.maker.asking) == 1 })
	if err := ask(100 * time.Millisecond); apierr.ReasonOf(err) != apierr.Unavailable || time.Since(begun) > 2*time.Second {
		t.Errorf("who waits: %v after %v", err, time.Since(begun))
	}
	if err := <-first; apierr.ReasonOf(err) != apierr.Unavailable || time.Since(begun) > 15*time.Second {
		t.Errorf("who asks: %v after %v", err, time.Since(begun))
	}
	if _, known := r.maker.Known(); known {
		t.Error("something is offered")
	}
}

func TestOfferOfWhatCannotRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "llama-quantize")
	if err := os.WriteFile(path, []byte("#!/nowhere/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(_ *Config, p *Parts) { p.Quantize = quantizetest.Program(path) })
	if _, err := r.maker.Offer(t.Context()); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("got %v", err)
	}
}
