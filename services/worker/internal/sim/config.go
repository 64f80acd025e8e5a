// Package sim is a simulated inference engine: an HTTP server that speaks
// vLLM's OpenAI API and shows vLLM's metric names, and makes its answers up
// from the prompt. It stands in for GPUs in tests and benchmarks and says so in
// its model names, its Server header and every answer. It knows nothing of
// workers; start reading at New.
package sim

import (
	"math"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is how fast the engine pretends to be, how much it pretends to hold,
// and what goes wrong. Tokens are counted by TokensOf's rule.
type Config struct {
	// Model is the served name; `sim/` is put before it unless it already says
	// that it is simulated.
	Model string
	// ContextTokens bounds prompt and answer together.
	ContextTokens int
	// Slots is how many requests run at once; more wait.
	Slots int
	// KVTokens is the memory for prompts and answers that run at once.
	KVTokens int
	// MaxWaiting bounds the requests that wait; more get 503.
	MaxWaiting int
	// PrefillRate and DecodeRate are tokens per second of the prompt, less what is
	// cached of it, and of the answer, of each request; 0 is without delay.
	PrefillRate, DecodeRate float64
	// PrefillParallel is how many prompts are read at once, first come first
	// served; 0 does not limit it. A GPU that is busy with one long prompt reads
	// the next one later: 1 is nearest to that.
	PrefillParallel int
	// FirstToken is a fixed time before the first token, besides the prefill.
	FirstToken time.Duration
	// EmbeddingCall, EmbeddingRate and EmbeddingCalls are the speed of embeddings,
	// as an engine has it that computes the inputs of a call together and different
	// calls one after the other: a call takes EmbeddingCall and its tokens at
	// EmbeddingRate a second (0 is without delay), so that a call of many inputs
	// takes less than as many calls; EmbeddingCalls run at once.
	EmbeddingCall  time.Duration
	EmbeddingRate  float64
	EmbeddingCalls int
	// StartDelay is how long the engine pretends to load.
	StartDelay time.Duration
	// AnswerTokens is the length of an answer that nothing else limits.
	AnswerTokens int
	// Dimensions is the length of an embedding vector nobody asked otherwise.
	Dimensions int
	// Seed changes all answers and the choice of requests that fail.
	Seed uint64
	// Faults are in force from the start; POST /sim/faults replaces them.
	Faults Faults
}

// Faults are what goes wrong on purpose.
type Faults struct {
	// ErrorRate is the share of requests, 0 to 1, answered with ErrorStatus.
	ErrorRate float64 `json:"error_rate,omitempty"`
	// ErrorStatus is an HTTP status from 400 to 599; 500 when 0.
	ErrorStatus int `json:"error_status,omitempty"`
	// CrashAfter ends the process at the request with that number, counted from
	// when the faults were set; 0 never.
	CrashAfter int64 `json:"crash_after,omitempty"`
	// Hang makes every request, health checks too, wait until its client leaves.
	Hang bool `json:"hang,omitempty"`
	// DisconnectAfter closes streams after so many chunks, without [DONE]; 0
	// never.
	DisconnectAfter int `json:"disconnect_after,omitempty"`
}

// DefaultConfig returns an engine without delays.
func DefaultConfig() Config {
	return Config{
		Model: "sim", ContextTokens: 8192, Slots: 64, KVTokens: 1 << 20, MaxWaiting: 4096,
		AnswerTokens: 32, Dimensions: 384, EmbeddingCalls: 1,
	}
}

// Validate reports every problem of c at once.
func (c Config) Validate() error {
	var p config.Problems
	positive := func(name string, v int) { p.Check(v > 0, name, "must be positive, got %d", v) }
	p.Check(c.Model != "", "model", "must not be empty")
	positive("context", c.ContextTokens)
	positive("slots", c.Slots)
	positive("kv-tokens", c.KVTokens)
	positive("max-waiting", c.MaxWaiting)
	positive("answer-tokens", c.AnswerTokens)
	p.Check(c.PrefillParallel >= 0, "prefill-parallel", "must not be negative, got %d", c.PrefillParallel)
	p.Check(c.Dimensions > 0 && c.Dimensions <= maxDimensions, "dimensions", "must be from 1 to %d, got %d", maxDimensions, c.Dimensions)
	rate := func(name string, v float64) {
		p.Check(v >= 0 && !math.IsInf(v, 0), name, "must be 0 or more, got %v", v)
	}
	rate("prefill-rate", c.PrefillRate)
	rate("decode-rate", c.DecodeRate)
	rate("embedding-rate", c.EmbeddingRate)
	positive("embedding-calls", c.EmbeddingCalls)
	p.Check(c.EmbeddingCall >= 0, "embedding-call", "must not be negative, got %v", c.EmbeddingCall)
	p.Check(c.FirstToken >= 0, "first-token", "must not be negative, got %v", c.FirstToken)
	p.Check(c.StartDelay >= 0, "start-delay", "must not be negative, got %v", c.StartDelay)
	c.Faults.validate(&p)
	return p.Err()
}

func (f Faults) validate(p *config.Problems) {
	p.Check(f.ErrorRate >= 0 && f.ErrorRate <= 1, "error_rate", "must be from 0 to 1, got %v", f.ErrorRate)
	p.Check(f.ErrorStatus == 0 || f.ErrorStatus >= 400 && f.ErrorStatus <= 599, "error_status", "must be from 400 to 599, got %d", f.ErrorStatus)
	p.Check(f.CrashAfter >= 0, "crash_after", "must not be negative, got %d", f.CrashAfter)
	p.Check(f.DisconnectAfter >= 0, "disconnect_after", "must not be negative, got %d", f.DisconnectAfter)
}

// ServedName returns the name that the engine answers with.
func (c Config) ServedName() string {
	if c.Model == "sim" || strings.HasPrefix(c.Model, "sim/") || strings.HasPrefix(c.Model, "sim-") {
		return c.Model
	}
	return "sim/" + c.Model
}
