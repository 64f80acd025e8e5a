package usage

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// Each class is billed by its own price, to the token, and nothing twice.
func TestClassesAreBilledExactly(t *testing.T) {
	o := newOffice(t, nil)
	o.price("chat", price.Rates{
		Input: 1e6, Output: 10e6, Cached: new(int64(0.5e6)), Reasoning: new(int64(20e6)), AudioInput: new(int64(100e6)), AudioOutput: new(int64(200e6)),
	})
	money := o.budget(budget.Budget{ID: "money", Scope: budget.Tenant, Every: budget.Total, Unit: budget.Money, Amount: 1_000_000, Hard: true})
	a := o.must(chat(100, 100))
	a.Note(metering.Use{By: served(), Tokens: &commonv1.TokenUsage{
		PromptTokens: 40, CachedPromptTokens: 10, AudioPromptTokens: 4, CompletionTokens: 30, ReasoningTokens: 20, AudioCompletionTokens: 3,
	}})
	a.End(t.Context(), nil)
	// 26 read, 10 cached and 4 of sound; 7 generated, 20 thoughts and 3 of sound.
	const want = 26*1 + 10/2 + 4*100 + 7*10 + 20*20 + 3*200
	if settled, held := o.stands(money); settled != want || held != 0 {
		t.Errorf("%d is settled, want %d, and %d reserved", settled, want, held)
	}
	got := o.total()
	if got.Cost != want || got.Tokens != (ledger.Tokens{Input: 40, Cached: 10, Output: 30, Reasoning: 20, AudioInput: 4, AudioOutput: 3}) {
		t.Errorf("%+v", got)
	}
	// What is told in several classes at once is billed in one.
	b := o.must(chat(100, 100))
	b.Note(metering.Use{By: served(), Tokens: &commonv1.TokenUsage{
		PromptTokens: 10, CachedPromptTokens: 10, AudioPromptTokens: 10, CompletionTokens: 10, ReasoningTokens: 10, AudioCompletionTokens: 10,
	}})
	b.End(t.Context(), nil)
	if got := o.total().Cost - want; got != 10*100+10*200 {
		t.Errorf("all of it sound, cached and thoughts costs %d", got)
	}
	o.adds()
}

// A price for thoughts and sound reserves as if all were of the dearest class; a request
// for which that is too much is refused.
func TestClassesAreReserved(t *testing.T) {
	o := newOffice(t, nil)
	o.price("chat", price.Rates{Input: 1e6, Output: 1e6, Reasoning: new(int64(9e6)), AudioInput: new(int64(5e6))})
	o.budget(budget.Budget{ID: "money", Scope: budget.Tenant, Every: budget.Total, Unit: budget.Money, Amount: 10*5 + 10*9, Hard: true})
	if _, err := o.ask(as(t.Context()), chat(10, 11)); err == nil {
		t.Error("more than is left is let through")
	}
	if _, err := o.ask(as(t.Context()), chat(10, 10)); err != nil {
		t.Errorf("what fits is refused: %v", err)
	}
}

// Whatever classes an engine counts, of whichever version, what is billed is at most
// what was reserved, as long as it keeps to the bounds of the request.
func TestNeverMoreThanReserved(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	maybe := func() *int64 {
		if rnd.IntN(2) == 0 {
			return nil
		}
		return new(rnd.Int64N(1e9))
	}
	m := &Meter{cfg: DefaultConfig(), clock: clock.Real()}
	for range 20_000 {
		var prices []price.Price
		for v := range int32(3) {
			prices = append(prices, price.Price{
				Target: price.Target{Model: "chat", Version: v}, Currency: "USD", Revision: int64(v + 1),
				Rates: price.Rates{
					Input: rnd.Int64N(1e9), Output: rnd.Int64N(1e9), Rerank: rnd.Int64N(1e9), Request: rnd.Int64N(1e9), Document: rnd.Int64N(1e9),
					Cached: maybe(), Reasoning: maybe(), AudioInput: maybe(), AudioOutput: maybe(),
				},
			})
		}
		book := price.NewBook("USD", prices)
		now := clock.Real().Now()
		rates, _ := book.Most("chat", now)
		d := metering.Demand{Kind: metering.Generate, Model: "chat", PromptBytes: rnd.IntN(1000), MaxTokens: 1 + rnd.Int64N(1000)}
		e := ledger.Entry{Time: now, Dimensions: ledger.Dimensions{Kind: string(d.Kind), Model: "chat", Version: rnd.Int32N(4)}}
		of := func(n int64) int64 { return rnd.Int64N(n + 1) }
		e.Input, e.Output = of(int64(d.PromptBytes)), of(d.MaxTokens)
		e.Cached, e.AudioInput, e.Reasoning, e.AudioOutput = of(e.Input), of(e.Input), of(e.Output), of(e.Output)
		if rnd.IntN(4) == 0 {
			d.Kind, d.Documents = metering.Rerank, rnd.IntN(100)
			e.Kind, e.Documents = string(d.Kind), int64(d.Documents)
		}
		need := m.most(d, rates, int64(d.PromptBytes))
		if settle(&e, book); e.Cost > need.Money {
			t.Fatalf("%+v of %+v is billed %d, and %d was reserved", e, prices, e.Cost, need.Money)
		}
	}
}

// Documents are billed where they were ranked, and given back where they were not.
func TestDocumentsAreBilled(t *testing.T) {
	o := newOffice(t, nil)
	o.price("chat", price.Rates{Rerank: 1e6, Document: 1000e6})
	money := o.budget(budget.Budget{ID: "money", Scope: budget.Tenant, Every: budget.Total, Unit: budget.Money, Amount: 1_000_000, Hard: true})
	ranks := metering.Demand{Kind: metering.Rerank, Model: "chat", PromptBytes: 50, Documents: 7}
	a := o.must(ranks)
	a.Note(used(20, 0))
	a.End(t.Context(), nil)
	o.must(ranks).End(t.Context(), nil) // whole, and the engine told nothing
	failed := o.must(ranks)
	failed.End(t.Context(), errors.New("no worker"))
	const want = 20 + 7000 + 7000
	if settled, held := o.stands(money); settled != want || held != 0 {
		t.Errorf("%d is settled, want %d, and %d reserved", settled, want, held)
	}
	if got := o.total(); got.Documents != 14 || got.Cost != want {
		t.Errorf("%+v", got)
	}
	o.adds()
}

// What is known of a request in hand survives its edge, each class of it.
func TestClassesAreRecovered(t *testing.T) {
	o := newOffice(t, nil)
	o.price("chat", price.Rates{Reasoning: new(int64(1e6)), AudioInput: new(int64(10e6)), AudioOutput: new(int64(100e6))})
	o.must(chat(100, 100)).Note(metering.Use{By: served(), Tokens: &commonv1.TokenUsage{
		PromptTokens: 9, AudioPromptTokens: 5, CompletionTokens: 30, ReasoningTokens: 20, AudioCompletionTokens: 3,
	}})
	o.kill()
	o.start("second")
	want := ledger.Tokens{Input: 9, Output: 30, Reasoning: 20, AudioInput: 5, AudioOutput: 3}
	if got := o.total(); got.Tokens != want || got.Cost != 20+50+300 {
		t.Errorf("%+v", got)
	}
}
