package limitrule

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

type bench struct {
	*Engine

	clock  *clock.Fake
	header metadata.MD
}

func (b *bench) setHeader(md metadata.MD) error {
	b.header = metadata.Join(b.header, md)
	return nil
}

func newBench(rules ...Rule) *bench {
	c := clock.NewFake(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	b := &bench{Engine: New(limit.NewMemory(c, 1000), limit.NewSlots(limit.SlotsOptions{Clock: c}), nil), clock: c}
	var owned []Owned
	for _, r := range rules {
		r.Complete()
		owned = append(owned, Owned{Rule: r})
	}
	b.Use(owned)
	return b
}

func chat() *Facts {
	return &Facts{
		Tenant: "acme", KeyID: "k1", Subject: "ada", Model: "small", Class: limit.Generate,
		Method: "/poterne.edge.v1.OpenAIService/CreateChatCompletion", PerMinute: 600,
	}
}

func (b *bench) admit(t *testing.T, f *Facts) (*Pass, error) {
	t.Helper()
	b.header = nil
	return b.Admit(t.Context(), f, 1, b.setHeader)
}

func (b *bench) left(t *testing.T, f *Facts, rule string) int {
	t.Helper()
	states, err := b.Status(t.Context(), f, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Name == rule {
			return s.Remaining
		}
	}
	t.Fatalf("%s is not among %+v", rule, states)
	return 0
}

func TestWithoutRulesOnlyTheKeyCounts(t *testing.T) {
	b := newBench()
	f := chat()
	f.PerMinute = 2
	for range 2 {
		if pass, err := b.admit(t, f); err != nil || pass != nil {
			t.Fatal(pass, err)
		}
	}
	_, err := b.admit(t, f)
	e := apierr.From(err)
	if e.Reason != apierr.RateLimited || e.RetryAfter != 30*time.Second || e.Message != "the limit of 2 requests per minute is reached" {
		t.Errorf("%+v", e)
	}
	if got := b.header.Get("ratelimit"); len(got) != 1 || got[0] != `"default";r=0;t=60` {
		t.Errorf("%v", b.header)
	}
	b.clock.Advance(e.RetryAfter)
	if _, err := b.admit(t, f); err != nil {
		t.Errorf("after waiting as told: %v", err)
	}
}

func TestFirstRefusalTakesNothing(t *testing.T) {
	b := newBench(
		Rule{Name: "wide", Kind: Requests, By: []Dimension{ByTenant}, Amount: 100},
		Rule{Name: "streams", Kind: Concurrent, By: []Dimension{ByKey}, Amount: 2},
		Rule{Name: "small-model", Kind: Requests, By: []Dimension{ByTenant, ByModel}, Match: Match{Models: []string{"small"}}, Amount: 3},
	)
	for range 3 {
		pass, err := b.admit(t, chat())
		if err != nil {
			t.Fatal(err)
		}
		pass.Leave(t.Context())
	}
	_, err := b.admit(t, chat())
	e := apierr.From(err)
	if e.Reason != apierr.RateLimited || !strings.Contains(e.Message, `"small-model" of 3 requests in 1m0s is reached, counted by tenant, model`) ||
		e.Metadata["policy"] != "small-model" || e.Metadata["counted_by"] != "tenant, model" || e.RetryAfter != 20*time.Second {
		t.Errorf("%+v", e)
	}
	if wide, own, hand := b.left(t, chat(), "wide"), b.left(t, chat(), "default"), b.left(t, chat(), "streams"); wide != 97 || own != 597 || hand != 2 {
		t.Errorf("left: %d, %d, %d", wide, own, hand)
	}
	if got := b.header.Get("ratelimit"); len(got) != 1 || !strings.Contains(got[0], `"default";r=597`) || !strings.Contains(got[0], `"wide";r=97`) ||
		!strings.Contains(got[0], `"streams";r=1`) || !strings.Contains(got[0], `"small-model";r=0;t=60;pk=:`) {
		t.Errorf("%v", got)
	}
	other := chat()
	other.Model = "big"
	if _, err := b.admit(t, other); err != nil {
		t.Errorf("another model: %v", err)
	}
}

func TestConcurrentIsLeft(t *testing.T) {
	b := newBench(Rule{Name: "streams", Kind: Concurrent, By: []Dimension{ByKey}, Amount: 2})
	one, err := b.admit(t, chat())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.admit(t, chat()); err != nil {
		t.Fatal(err)
	}
	if _, err = b.admit(t, chat()); apierr.ReasonOf(err) != apierr.RateLimited || !strings.Contains(err.Error(), "2 requests at once") {
		t.Fatal(err)
	}
	if left := b.left(t, chat(), "default"); left != 598 {
		t.Errorf("a refusal cost the key: %d left", left)
	}
	one.Leave(t.Context())
	one.Leave(t.Context())
	if _, err := b.admit(t, chat()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.admit(t, chat()); err == nil {
		t.Fatal("what was left once is free twice")
	}
	later := chat()
	later.Later = true
	if _, err := b.admit(t, later); err != nil {
		t.Errorf("a further message of a stream: %v", err)
	}
}

// A rule that tenants share tells none of them what the others did.
func TestSharedRulesAreQuiet(t *testing.T) {
	b := newBench(Rule{Name: "gpu", Kind: Requests, By: []Dimension{ByModel}, Amount: 2})
	if _, err := b.admit(t, chat()); err != nil || strings.Contains(b.header.Get("ratelimit")[0], "gpu") {
		t.Fatalf("%v, %v", err, b.header)
	}
	other := chat()
	other.Tenant = "other"
	if _, err := b.admit(t, other); err != nil {
		t.Fatal(err)
	}
	if _, err := b.admit(t, chat()); err == nil || !strings.Contains(b.header.Get("ratelimit")[0], `"gpu";r=0`) {
		t.Errorf("%v, %v", err, b.header)
	}
	states, err := b.Status(t.Context(), chat(), false)
	if err != nil || len(states) != 1 {
		t.Errorf("a tenant is told %+v, %v", states, err)
	}
}

// work has a model work on a request that the engine let in.
func (b *bench) work(t *testing.T, f *Facts, d metering.Demand) (metering.Hold, error) {
	t.Helper()
	pass, err := b.admit(t, f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, place := NewContext(t.Context())
	place.Put(pass)
	return NewMeter(b.Engine).Begin(ctx, d, b.setHeader)
}

func used(in, out int32) metering.Use {
	return metering.Use{Tokens: &commonv1.TokenUsage{PromptTokens: in, CompletionTokens: out}}
}

func TestTokensAreReservedAndSettled(t *testing.T) {
	b := newBench(
		Rule{Name: "all", Kind: TotalTokens, By: []Dimension{ByTenant}, Amount: 1000},
		Rule{Name: "in", Kind: InputTokens, By: []Dimension{ByKey}, Amount: 800},
		Rule{Name: "out", Kind: OutputTokens, By: []Dimension{ByKey}, Amount: 500},
	)
	hold, err := b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 297, MaxTokens: 100})
	if err != nil {
		t.Fatal(err)
	}
	if all, in, out := b.left(t, chat(), "all"), b.left(t, chat(), "in"), b.left(t, chat(), "out"); all != 800 || in != 700 || out != 400 {
		t.Errorf("reserved: %d, %d, %d are left", all, in, out)
	}
	if got := b.header.Get("x-ratelimit-remaining-tokens"); len(got) != 1 || got[0] != "400" {
		t.Errorf("%v", b.header)
	}
	hold.Note(used(50, 1))
	hold.Note(used(50, 20))
	hold.End(t.Context(), nil)
	if all, in, out := b.left(t, chat(), "all"), b.left(t, chat(), "in"), b.left(t, chat(), "out"); all != 930 || in != 750 || out != 480 {
		t.Errorf("settled: %d, %d, %d are left", all, in, out)
	}
	// More than was reserved is owed.
	if hold, err = b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 1, MaxTokens: 10}); err != nil {
		t.Fatal(err)
	}
	hold.Note(used(100, 10))
	hold.End(t.Context(), errors.New("the caller went away"))
	if all := b.left(t, chat(), "all"); all != 820 {
		t.Errorf("%d are left", all)
	}
	// What failed before anything was counted is free.
	if hold, err = b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 1, MaxTokens: 10}); err != nil {
		t.Fatal(err)
	}
	hold.End(t.Context(), errors.New("no worker"))
	if all := b.left(t, chat(), "all"); all != 820 {
		t.Errorf("after a failure %d are left", all)
	}
	// An answer that nobody counted costs what was reserved.
	if hold, err = b.work(t, chat(), metering.Demand{Kind: metering.Embed, PromptBytes: 57}); err != nil {
		t.Fatal(err)
	}
	hold.End(t.Context(), nil)
	if all, out := b.left(t, chat(), "all"), b.left(t, chat(), "out"); all != 800 || out != 470 {
		t.Errorf("uncounted: %d, %d are left", all, out)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	b := newBench(Rule{Name: "tokens", Kind: TotalTokens, By: []Dimension{ByTenant}, Amount: 1000}, Rule{Name: "day", Kind: Requests, Amount: 100})
	counted := 0
	count := func(context.Context) (int64, error) { counted++; return 900, nil }
	// By its bytes it does not fit; by its tokens it does.
	hold, err := b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 6000, MaxTokens: 100, Count: count})
	if err != nil || counted != 1 {
		t.Fatal(err, counted)
	}
	_, err = b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 30, MaxTokens: 89})
	e := apierr.From(err)
	if e.Reason != apierr.RateLimited || e.RetryAfter != 6*time.Second || e.Metadata["limit"] != "tokens" || e.Metadata["policy"] != "tokens" {
		t.Errorf("%+v", e)
	}
	if own, day := b.left(t, chat(), "default"), b.left(t, chat(), "day"); own != 599 || day != 99 {
		t.Errorf("a refusal for tokens cost requests: %d, %d are left", own, day)
	}
	// What the request can do without is no refusal of it.
	_, err = b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 30, MaxTokens: 89, Optional: true})
	if day := b.left(t, chat(), "day"); apierr.ReasonOf(err) != apierr.RateLimited || day != 98 {
		t.Errorf("a refusal of what is optional gives the request back: %v, %d are left", err, day)
	}
	b.clock.Advance(e.RetryAfter)
	if _, err = b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 30, MaxTokens: 89}); err != nil {
		t.Errorf("after waiting as told: %v", err)
	}
	hold.End(t.Context(), errors.New("failed"))
	// More than ever comes at once is a wrong request, not one to try again.
	_, err = b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 30, MaxTokens: 1001, Count: count})
	if e := apierr.From(err); e.Reason != apierr.InvalidArgument || !strings.Contains(e.Message, "at most 1000") {
		t.Errorf("%+v", e)
	}
	// Who bounds nothing is let in as far as a guess goes.
	if _, err = newBench(Rule{Name: "tiny", Kind: OutputTokens, Amount: 10}).work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 3000}); err != nil {
		t.Errorf("%v", err)
	}
}

// What is not bounded reserves as much as the limit ever lets through, at most: the
// next one waits until so much is there again, and is told how long that takes.
func TestTokensThatNobodyBoundsWait(t *testing.T) {
	for name, c := range map[string]struct {
		rule     Rule
		use      metering.Use
		reserved int // by the first
		after    time.Duration
		says     string
	}{
		"less than is usual":  {Rule{Kind: TotalTokens, Amount: 600}, used(18, 20), 600, 3800 * time.Millisecond, "of 600 tokens in 1m0s has 562 left, counted by tenant, and this request reserves 600: ask for fewer tokens (max_tokens), or wait"},
		"as much as is usual": {Rule{Kind: OutputTokens, Amount: 1024}, used(18, 512), 1024, 30 * time.Second, "has 512 left, counted by tenant, and this request reserves 1024"},
		"a prompt":            {Rule{Kind: InputTokens, Amount: 11}, used(10, 20), 11, time.Minute * 10 / 11, "has 1 left, counted by tenant, and this request reserves 11: shorten the prompt, or wait"},
		"all that there was":  {Rule{Kind: TotalTokens, Amount: 600}, used(300, 300), 600, time.Minute, "of 600 tokens in 1m0s is reached, counted by tenant"},
		"a smaller burst":     {Rule{Kind: TotalTokens, Amount: 3000, Burst: 600}, used(18, 20), 600, 760 * time.Millisecond, "has 562 left"},
	} {
		c.rule.Name, c.rule.By = "t", []Dimension{ByTenant}
		b := newBench(c.rule)
		d := metering.Demand{Kind: metering.Generate, PromptBytes: 30, Count: func(context.Context) (int64, error) { return 18, nil }}
		hold, err := b.work(t, chat(), d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if left := b.left(t, chat(), "t"); left != c.rule.limit().AtOnce()-c.reserved {
			t.Errorf("%s: %d are left", name, left)
		}
		hold.Note(c.use)
		hold.End(t.Context(), nil)
		_, err = b.work(t, chat(), d)
		e := apierr.From(err)
		if e.Reason != apierr.RateLimited || (e.RetryAfter-c.after).Abs() > time.Millisecond || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %v, again after %v", name, err, e.RetryAfter)
		}
		b.clock.Advance(e.RetryAfter)
		if _, err = b.work(t, chat(), d); err != nil {
			t.Errorf("%s: after waiting as told: %v", name, err)
		}
	}
}

// Of a limit that tenants share nobody is told what it has left.
func TestTooFewSharedTokensAreNotCounted(t *testing.T) {
	b := newBench(Rule{Name: "gpu", Kind: TotalTokens, By: []Dimension{ByModel}, Amount: 100})
	hold, err := b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 30, MaxTokens: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer hold.End(t.Context(), nil)
	_, err = b.work(t, chat(), metering.Demand{Kind: metering.Generate, PromptBytes: 30, MaxTokens: 50})
	if e := apierr.From(err); e.Reason != apierr.RateLimited || !strings.Contains(e.Message, `"gpu" of 100 tokens in 1m0s has too little left, counted by model, and this request reserves 61`) {
		t.Errorf("%v", err)
	}
}

func TestTenantsRulesAreTheirOwn(t *testing.T) {
	b := newBench()
	r := Rule{Name: "tight", Kind: Requests, Amount: 1, Period: time.Minute, Away: AwayLocal}
	b.Use([]Owned{{Rule: r, Tenant: "acme"}, {Rule: Rule{Name: "off", Kind: Requests, Amount: 1, Disabled: true}}})
	if _, err := b.admit(t, chat()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.admit(t, chat()); err == nil {
		t.Error("not limited")
	}
	other := chat()
	other.Tenant = "other"
	for range 3 {
		if _, err := b.admit(t, other); err != nil {
			t.Errorf("another tenant: %v", err)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	rule := func(name string, by ...Dimension) Rule {
		return Rule{Name: name, Kind: Requests, By: by, Amount: 100_000_000, Period: time.Second}
	}
	rules := []Rule{
		rule("a", ByTenant), rule("b", ByTenant, ByModel), rule("c", ByUser), rule("d", ByRoute), rule("e", ByAddress),
	}
	for _, n := range []int{1, 3, 6} {
		b.Run(strings.Repeat("x", n), func(b *testing.B) {
			engine := newBench(rules[:n-1]...)
			f := chat()
			f.PerMinute = 1_000_000_000
			b.ReportAllocs()
			for b.Loop() {
				engine.clock.Advance(time.Millisecond)
				pass, err := engine.Admit(b.Context(), f, 1, func(metadata.MD) error { return nil })
				if err != nil {
					b.Fatal(err)
				}
				pass.Leave(b.Context())
			}
		})
	}
}
