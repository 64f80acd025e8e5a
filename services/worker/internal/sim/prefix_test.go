package sim

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func TestPrefixCacheForgetsWhatWasUsedLeastRecently(t *testing.T) {
	const tokens = 10 * blockTokens
	c := newPrefixCache(2 * tokens)
	text := func(seed byte) string { return strings.Repeat(string(seed), tokens*bytesPerToken) }
	if got := c.visit(text('a'), tokens); got != 0 {
		t.Errorf("a new prompt has %d tokens cached", got)
	}
	c.visit(text('b'), tokens)
	if got := c.visit(text('a'), tokens); got != tokens-1 {
		t.Errorf("%d of %d are cached", got, tokens)
	}
	c.visit(text('c'), tokens) // there is room for two
	if a, b := c.visit(text('a'), tokens), 0; a != tokens-1 {
		t.Errorf("a, used after b, has %d left, b %d", a, b)
	}
	if got := c.visit(text('b'), tokens); got != 0 {
		t.Errorf("b, used least recently, has %d left", got)
	}
	// Of a prompt that only half fits the beginning stays.
	half := newPrefixCache(tokens / 2)
	half.visit(text('a'), tokens)
	if got := half.visit(text('a'), tokens); got != tokens/2 {
		t.Errorf("%d of %d are cached", got, tokens/2)
	}
}

func TestPromptsAreReadInTurn(t *testing.T) {
	for parallel, want := range map[int]time.Duration{0: time.Second, 1: 3 * time.Second, 2: 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.PrefillRate, cfg.PrefillParallel = 100, parallel
			s, err := New(cfg, clock.Real(), slog.New(slog.DiscardHandler), func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			var wg sync.WaitGroup
			for i := range 3 {
				wg.Go(func() {
					prompt := strings.Repeat(string(rune('a'+i)), 100*bytesPerToken)
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/completions",
						strings.NewReader(`{"prompt":"`+prompt+`","max_tokens":1}`))
					if err != nil {
						t.Error(err)
						return
					}
					w := httptest.NewRecorder()
					s.ServeHTTP(w, r)
					if body, _ := io.ReadAll(w.Body); w.Code != http.StatusOK {
						t.Errorf("%d %s", w.Code, body)
					}
				})
			}
			wg.Wait()
			if took := time.Since(start).Round(100 * time.Millisecond); took != want {
				t.Errorf("%d at once: took %v, want %v", parallel, took, want)
			}
		})
	}
}
