package agent

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

func figures(prompt, generated, lookups, hits float64) engine.Signals {
	running, waiting, usage := 3.0, 0.0, 0.25
	return engine.Signals{
		Running: &running, Waiting: &waiting, KVCacheUsage: &usage,
		PromptTokens: &prompt, GeneratedTokens: &generated, CacheLookups: &lookups, CacheHits: &hits,
	}
}

func TestEngineTellsItsLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		tell := func(s engine.Signals, err error) {
			r.engine.set(func() { r.engine.signals, r.engine.told = s, err })
		}
		r.ready("a")
		pass(1500 * time.Millisecond)
		if m := r.state("a"); m.GetEngineReadTime() != nil || m.EngineRunning != nil || m.KvCacheUsage != nil {
			r.Errorf("an engine that tells nothing: %v", m)
		}
		tell(figures(100, 10, 100, 50), nil)
		pass(time.Second)
		m := r.state("a")
		if m.GetEngineRunning() != 3 || m.EngineWaiting == nil || m.GetEngineWaiting() != 0 || m.GetKvCacheUsage() != 0.25 {
			r.Errorf("the first reading: %v", m)
		}
		if m.PromptTokensPerSecond != nil || m.PrefixCacheHitRate != nil {
			r.Errorf("a rate after one reading: %v", m)
		}
		tell(figures(700, 30, 700, 500), nil)
		pass(time.Second)
		m = r.state("a")
		if m.GetPromptTokensPerSecond() != 600 || m.GetGenerationTokensPerSecond() != 20 || m.GetPrefixCacheHitRate() != 0.75 {
			r.Errorf("the second reading: %v", m)
		}
		pass(time.Second) // nothing was asked meanwhile
		m = r.state("a")
		if m.PromptTokensPerSecond == nil || m.GetPromptTokensPerSecond() != 0 || m.GetPrefixCacheHitRate() != 0.75 {
			r.Errorf("an idle engine: %v", m)
		}
		tell(engine.Signals{}, errEngine)
		pass(2 * time.Second)
		if again := r.state("a"); !again.GetEngineReadTime().AsTime().Equal(m.GetEngineReadTime().AsTime()) {
			r.Errorf("after two readings that failed: %v", again)
		}
		pass(time.Second)
		if m := r.state("a"); m.GetEngineReadTime() != nil || m.PrefixCacheHitRate != nil {
			r.Errorf("after three: %v", m)
		}
	})
}

// A new life of the engine begins its counters anew: no rate may come of that.
func TestLoadIsForgottenWithTheEngine(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		r.engine.set(func() { r.engine.signals = figures(1000, 10, 10, 5) })
		pass(2100 * time.Millisecond)
		if r.state("a").PromptTokensPerSecond == nil {
			r.Fatal("no rate to begin with")
		}
		r.engine.set(func() { r.engine.health = errEngine })
		pass(15 * time.Second)
		if m := r.state("a"); m.GetState() == workerv1.ModelState_MODEL_STATE_READY || m.GetEngineReadTime() != nil {
			r.Errorf("while it is down: %v", m)
		}
		r.engine.askedSince()
		pass(time.Minute)
		if n := r.engine.askedSince(); n != 0 {
			r.Errorf("asked %d times while it is down", n)
		}
	})
}

func TestLoadIsAskedOnlyWhileTheModelIsThere(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		pass(5500 * time.Millisecond)
		if n := r.engine.askedSince(); n != 5 {
			r.Errorf("asked %d times in five and a half seconds", n)
		}
		if _, err := r.client.UnloadModel(r.Context(), &workerv1.UnloadModelRequest{Digest: digest("a")}); err != nil {
			r.Fatal(err)
		}
		synctest.Wait()
		r.engine.askedSince()
		pass(time.Minute)
		if n := r.engine.askedSince(); n != 0 {
			r.Errorf("asked %d times after it was unloaded", n)
		}
	})
}

func TestReadings(t *testing.T) {
	at := time.Unix(1000, 0)
	first := (*reading)(nil).after(figures(100, 10, 100, 50), at)
	// Its counters began anew unseen, or the clock did not move.
	if r := first.after(figures(5, 3, 5, 5), at.Add(time.Second)); r.promptRate != nil || r.generationRate != nil || r.hitRate != nil {
		t.Errorf("counters that fell: %+v", r)
	}
	if r := first.after(figures(200, 30, 200, 50), at); r.promptRate != nil {
		t.Errorf("no time has passed: %+v", r)
	}
	own, throughput := 0.9, 42.0
	s := figures(200, 20, 200, 50)
	s.CacheHitRate, s.GenerationRate = &own, &throughput
	if r := first.after(s, at.Add(time.Second)); *r.hitRate != 0.9 || *r.generationRate != 42 || *r.promptRate != 100 {
		t.Errorf("what the engine works out itself: %+v", r)
	}
}

func TestTokenize(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		ask := func() (*workerv1.TokenizeResponse, error) {
			return r.client.Tokenize(r.Context(), &workerv1.TokenizeRequest{
				Digest: digest("a"), Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(`{"messages":[]}`),
			})
		}
		got, err := ask()
		if err != nil || got.GetPromptTokens() != 15 || got.GetContextLength() != 2000 {
			r.Errorf("got %v, %v", got, err)
		}
		_, release := r.hold("a", 3) // as many requests as the model takes
		done := make(chan error, maxCounts)
		for range maxCounts {
			go func() {
				_, err := ask()
				done <- err
			}()
		}
		synctest.Wait()
		if _, err := ask(); apierr.ReasonOf(err) != apierr.Overloaded {
			r.Errorf("one count too many: %v", err)
		}
		release()
		for range maxCounts {
			if err := <-done; err != nil {
				r.Error(err)
			}
		}
		r.engine.set(func() { r.engine.err = errors.New("broken") })
		if _, err := ask(); err == nil {
			r.Error("an engine that fails counts")
		}
	})
}
