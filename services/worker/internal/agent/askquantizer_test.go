package agent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/quantize"
	"github.com/poterne/poterne/services/worker/internal/quantize/quantizetest"
)

// lateProgram is a program that is installed later.
type lateProgram struct {
	quantizetest.Program

	mu        sync.Mutex
	looked    int
	installed bool
}

func (p *lateProgram) Path() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked++
	if !p.installed {
		return "", errors.New("not installed")
	}
	return p.Program.Path()
}

func (p *lateProgram) install() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.installed = true
}

func (p *lateProgram) times() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looked
}

// What can be made here is told without a restart once it is known: it is asked
// for again, ever more seldom.
func TestQuantizersThatComeLater(t *testing.T) {
	tools := quantizetest.New(t)
	late, now := &lateProgram{Program: tools.QuantizeProgram()}, clock.NewFake(time.Now())
	r := newRigWith(t, func(cfg *Config, parts *Parts) {
		made := quantize.DefaultConfig()
		made.Directory = t.TempDir()
		var err error
		if parts.Maker, err = quantize.New(made, quantize.Parts{Quantize: late, Perplexity: tools.PerplexityProgram()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = parts.Maker.Close() })
		parts.Clock, cfg.SampleEvery = now, 1000*time.Hour
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.agent.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	waits := func() {
		t.Helper()
		const samplesAndAsks = 2
		if err := now.BlockUntil(ctx, samplesAndAsks); err != nil {
			t.Fatal(err)
		}
	}
	waits()
	for i, minutes := range []int{1, 2, 4, 8, 10, 10} {
		before := late.times()
		now.Advance(time.Duration(minutes)*time.Minute - time.Second)
		waits()
		if n := late.times(); n != before {
			t.Errorf("pause %d: asked before %d minutes", i, minutes)
		}
		now.Advance(time.Second)
		waits()
		if n := late.times(); n != before+1 {
			t.Errorf("pause %d: asked %d times after %d minutes", i, n-before, minutes)
		}
	}
	if q := r.agent.State("").GetQuantizers(); len(q) != 0 {
		t.Errorf("before: %v", q)
	}
	late.install()
	now.Advance(askSeldom)
	until(t, "it is told", func() bool { return len(r.agent.State("").GetQuantizers()) == 1 })
}
