package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/limit"
)

func TestOrder(t *testing.T) {
	want := []string{"audit", "address-limit", "authenticate", "authorise", "validate", "limit", "intent", "deadline"}
	if got := newGate(t, DefaultConfig(), nil).chain.Names()[3:]; !slices.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

func chat() *edgev1.CreateChatCompletionRequest {
	return &edgev1.CreateChatCompletionRequest{
		Model: "m@v3", Messages: []*edgev1.ChatMessage{{Role: "user"}},
	}
}

// stream makes a streaming call and reads it to its end.
func stream(g gate, ctx context.Context, req *edgev1.CreateChatCompletionRequest) (metadata.MD, int, error) { //nolint:revive // reads as stream(g, ...)
	s, err := g.openai.StreamChatCompletion(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	chunks := 0
	for {
		_, err := s.Recv()
		if err != nil {
			header, herr := s.Header()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return header, chunks, errors.Join(err, herr)
		}
		chunks++
	}
}

// TestRefusals asks with every kind of call for what each step refuses.
func TestRefusals(t *testing.T) {
	invalid := chat()
	invalid.Messages = nil
	for _, c := range []struct {
		name    string
		token   string
		req     *edgev1.CreateChatCompletionRequest
		reason  apierr.Reason
		message string
		record  audit.Record
	}{
		{"no credentials", "", chat(), apierr.Unauthenticated, "Authorization: Bearer", audit.Record{}},
		{"another kind of credentials", "jwt", chat(), apierr.Unauthenticated, "not valid", audit.Record{}},
		{"a revoked key", "old", chat(), apierr.Unauthenticated, "not valid", audit.Record{KeyID: "k-old"}},
		{"no role for it", "none", chat(), apierr.PermissionDenied, "do not allow to chat", audit.Record{
			Tenant: "acme", Subject: "ada", KeyID: "k-acme-nothing", Resource: "model/m",
		}},
		{"an invalid request", "dev", invalid, apierr.InvalidArgument, "messages", audit.Record{
			Tenant: "acme", Subject: "ada", KeyID: "k-acme-developer", Resource: "model/m",
		}},
	} {
		g := newGate(t, DefaultConfig(), nil)
		for kind, call := range map[string]func() (metadata.MD, error){
			"unary": func() (metadata.MD, error) {
				var header metadata.MD
				_, err := g.openai.CreateChatCompletion(as(t.Context(), c.token), c.req, grpc.Header(&header))
				return header, err
			},
			"stream": func() (metadata.MD, error) {
				header, _, err := stream(g, as(t.Context(), c.token), c.req)
				return header, err
			},
		} {
			header, err := call()
			e := apierr.From(err)
			if err == nil || e.Reason != c.reason || !strings.Contains(e.Message, c.message) {
				t.Errorf("%s, %s: %v", c.name, kind, err)
			}
			if *g.served != 0 {
				t.Errorf("%s, %s: the handler was reached", c.name, kind)
			}
			if got := header.Get(authn.Challenge); (len(got) == 1) != (c.reason == apierr.Unauthenticated) {
				t.Errorf("%s, %s: the challenge is %q", c.name, kind, got)
			}
			recs := g.records(t)
			got := recs[len(recs)-1]
			if got.Decision != audit.Refused || got.Reason != string(c.reason) || got.Address != "192.0.2.7" || got.RequestID == "" {
				t.Errorf("%s, %s: recorded as %+v", c.name, kind, got)
			}
			if got.Tenant != c.record.Tenant || got.KeyID != c.record.KeyID || got.Resource != c.record.Resource {
				t.Errorf("%s, %s: recorded as %+v, want %+v", c.name, kind, got, c.record)
			}
		}
	}
}

func TestServed(t *testing.T) {
	g := newGate(t, DefaultConfig(), func(ctx context.Context, _ any) error {
		c, ok := identity.FromContext(ctx)
		if !ok || c.Tenant != "acme" || c.KeyID != "k-acme-developer" {
			return fmt.Errorf("the handler sees the caller %+v", c)
		}
		audit.From(ctx).SetServedBy("m@v3")
		audit.From(ctx).SetArm("", "b")
		audit.From(ctx).SetTokens(3, 4)
		return nil
	})
	var header metadata.MD
	if _, err := g.openai.CreateChatCompletion(as(t.Context(), "dev"), chat(), grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if got := header.Get(limit.HeaderRateLimit); len(got) != 1 || got[0] != `"default";r=599;t=1` {
		t.Errorf("the limit in the header is %q", got)
	}
	header, chunks, err := stream(g, as(t.Context(), "dev"), chat())
	if err != nil || chunks != 1 {
		t.Fatalf("%d chunks, %v", chunks, err)
	}
	if got := header.Get(limit.HeaderRemaining + "requests"); len(got) != 1 || got[0] != "598" {
		t.Errorf("remaining after two requests: %q", got)
	}
	for i, r := range g.records(t) {
		if r.Decision != audit.Allowed || r.Reason != "" || r.ServedBy != "m@v3" || r.Arm != "b" || r.PromptTokens != 3 ||
			r.CompletionTokens != 4 || r.Resource != "model/m" || r.Subject != "ada" || r.RequestID == "" || r.ID == "" {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	if n := len(g.sink.records); n != 2 {
		t.Errorf("%d records", n)
	}
}

func TestKeyLimit(t *testing.T) {
	g := newGate(t, DefaultConfig(), nil)
	ask := func() (metadata.MD, error) {
		var header metadata.MD
		_, err := g.openai.ListModels(as(t.Context(), "slow"), &edgev1.ListModelsRequest{}, grpc.Header(&header))
		return header, err
	}
	for range 2 {
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	header, err := ask()
	e := apierr.From(err)
	if e == nil || e.Reason != apierr.RateLimited || e.RetryAfter != 30*time.Second {
		t.Fatalf("%v, retry after %v", err, e.RetryAfter)
	}
	if got := header.Get(limit.HeaderRateLimitPolicy); len(got) != 1 || got[0] != `"default";q=2;w=60` {
		t.Errorf("the policy in the header is %q", got)
	}
	if _, err := g.openai.ListModels(as(t.Context(), "dev"), &edgev1.ListModelsRequest{}); err != nil {
		t.Errorf("another key pays for it: %v", err)
	}
	if _, _, err := stream(g, as(t.Context(), "slow"), chat()); apierr.ReasonOf(err) != apierr.RateLimited {
		t.Errorf("a stream goes around the limit: %v", err)
	}
	g.clock.Advance(30 * time.Second)
	if _, err := ask(); err != nil {
		t.Errorf("after waiting as told: %v", err)
	}
	if *g.served != 4 {
		t.Errorf("%d requests were served", *g.served)
	}
}

func TestAddressLimit(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Address.RequestsPerMinute, cfg.Address.FailureCost = 60, 20
	g := newGate(t, cfg, nil)
	guess := func(token string) apierr.Reason {
		_, err := g.openai.ListModels(as(t.Context(), token), &edgev1.ListModelsRequest{})
		return apierr.ReasonOf(err)
	}
	for i := range 3 { // 1 + 20 each, of 60: the last one is paid on credit
		if got := guess(fmt.Sprintf("guess-%d", i)); got != apierr.Unauthenticated {
			t.Fatalf("guess %d: %s", i, got)
		}
	}
	if got := guess("dev"); got != apierr.RateLimited {
		t.Fatalf("guessing costs nothing: %s", got)
	}
	recs := g.records(t)
	if last := recs[len(recs)-1]; last.Reason != "RATE_LIMITED" || last.Tenant != "" {
		t.Errorf("looked up before the address was limited: %+v", last)
	}
	_, err := g.openai.ListModels(as(t.Context(), "dev"), &edgev1.ListModelsRequest{})
	if e := apierr.From(err); e == nil || e.RetryAfter != 4*time.Second { // 3 of debt, and 1
		t.Fatalf("%v", err)
	}
	g.clock.Advance(3 * time.Second)
	if got := guess("dev"); got != apierr.RateLimited {
		t.Errorf("before the debt is paid: %q", got)
	}
	g.clock.Advance(time.Second)
	if got := guess("dev"); got != "" {
		t.Errorf("after waiting as told: %s", got)
	}

	cfg.Address.RequestsPerMinute = 0
	g = newGate(t, cfg, nil)
	for range 100 {
		if got := guess("wrong"); got != apierr.Unauthenticated {
			t.Fatalf("without a limit: %s", got)
		}
	}
}

// TestGuessingIsHeldToItsRate asks in every rhythm with wrong keys, and now and
// then with a right one, and holds the keys that were looked up to the bound:
// what the whole bucket pays for, and then its rate.
func TestGuessingIsHeldToItsRate(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4)) // the same every time
	for range 20 {
		cfg := DefaultConfig()
		a := &cfg.Address
		a.RequestsPerMinute = 100 + r.IntN(100_000)
		a.FailureCost = 1 + r.IntN(a.RequestsPerMinute)
		g := newGate(t, cfg, nil)
		failures, elapsed, each := 0, time.Duration(0), float64(a.FailureCost+1)
		for range 400 {
			token := "wrong"
			if r.IntN(10) == 0 {
				token = "root"
			}
			_, err := g.openai.ListModels(as(t.Context(), token), &edgev1.ListModelsRequest{})
			switch e := apierr.From(err); {
			case e == nil:
			case e.Reason == apierr.Unauthenticated:
				failures++
			case e.Reason != apierr.RateLimited || e.RetryAfter <= 0:
				t.Fatalf("%+v: %v, retry after %v", *a, err, e.RetryAfter)
			}
			// The last of a burst is let in with one token left: hence one more.
			most := 1 + float64(a.RequestsPerMinute)/each*(1+elapsed.Minutes())
			if float64(failures) > most {
				t.Fatalf("%+v: %d guesses were looked up in %v, at most %.1f may be", *a, failures, elapsed, most)
			}
			step := time.Duration(r.IntN(int(20 * time.Millisecond)))
			if r.IntN(50) == 0 {
				step = time.Duration(r.IntN(int(2 * time.Minute)))
			}
			g.clock.Advance(step)
			elapsed += step
		}
		if failures == 0 {
			t.Fatalf("%+v: nothing was let in", *a)
		}
	}
}

// TestDefaultsHoldGuessing is the promise that the defaults make.
func TestDefaultsHoldGuessing(t *testing.T) {
	g := newGate(t, DefaultConfig(), nil)
	count := make(map[apierr.Reason]int)
	for range 4000 {
		_, err := g.openai.ListModels(as(t.Context(), "wrong"), &edgev1.ListModelsRequest{})
		count[apierr.ReasonOf(err)]++
	}
	if count[apierr.Unauthenticated] != 600 || count[apierr.RateLimited] != 3400 {
		t.Errorf("answered %v", count)
	}
	if n := len(g.records(t)); n != 600+recordedRefusals {
		t.Errorf("one address left %d records", n)
	}
}

func TestDeadline(t *testing.T) {
	var left time.Duration
	g := newGate(t, DefaultConfig(), func(ctx context.Context, _ any) error {
		end, ok := ctx.Deadline()
		if !ok {
			return errors.New("no deadline")
		}
		left = time.Until(end)
		return nil
	})
	// Only the order of magnitude counts, and the classes are far apart.
	about := func(name string, want time.Duration) {
		t.Helper()
		if left > want || left < want/2 {
			t.Errorf("%s: %v left, want about %v", name, left, want)
		}
	}
	mustCall := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mustCall(g.openai.ListModels(as(t.Context(), "dev"), &edgev1.ListModelsRequest{}))
	about("a read", time.Minute)
	mustCall(g.openai.CreateChatCompletion(as(t.Context(), "dev"), chat()))
	about("a chat", 10*time.Minute)
	_, _, err := stream(g, as(t.Context(), "dev"), chat())
	mustCall(nil, err)
	about("a stream", 10*time.Minute)

	short, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	mustCall(g.openai.ListModels(as(short, "dev"), &edgev1.ListModelsRequest{}))
	about("a caller in a hurry", 20*time.Second)
	long, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
	defer cancel()
	mustCall(g.openai.ListModels(as(long, "dev"), &edgev1.ListModelsRequest{}))
	about("a caller with patience", time.Minute)
}

func TestDeadlineEndsTheHandler(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Deadlines.Default = time.Millisecond
	g := newGate(t, cfg, func(ctx context.Context, _ any) error {
		<-ctx.Done()
		return ctx.Err()
	})
	_, err := g.openai.ListModels(as(t.Context(), "dev"), &edgev1.ListModelsRequest{})
	if apierr.ReasonOf(err) != apierr.DeadlineExceeded {
		t.Fatal(err)
	}
	if got := g.records(t)[0]; got.Reason != "DEADLINE_EXCEEDED" || got.Decision != audit.Allowed {
		t.Errorf("recorded as %+v", got)
	}
}

func TestPanicIsRecorded(t *testing.T) {
	g := newGate(t, DefaultConfig(), func(context.Context, any) error { panic("boom") })
	_, err := g.openai.ListModels(as(t.Context(), "dev"), &edgev1.ListModelsRequest{})
	if apierr.ReasonOf(err) != apierr.Internal || strings.Contains(err.Error(), "boom") {
		t.Fatal(err)
	}
	if got := g.records(t); len(got) != 1 || got[0].Reason != "INTERNAL" || got[0].Subject != "ada" {
		t.Fatalf("recorded as %+v", got)
	}
}

func TestMethodsOutsideTheTablesAreRefused(t *testing.T) {
	g := newGate(t, DefaultConfig(), nil)
	steps := g.chain.Unary()
	call := func(method string) error {
		md := metadata.Pairs(authn.Header, "Bearer root")
		ctx := metadata.NewIncomingContext(t.Context(), md)
		ctx = grpc.NewContextWithServerTransportStream(ctx, noHeaders{})
		_, err := steps(ctx, &edgev1.ListModelsRequest{}, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) {
			return nil, errors.New("the handler was reached")
		})
		return err
	}
	for _, method := range []string{"/no.such.Service/Method", "/poterne.registry.v1.RegistryService/Watch"} {
		if err := call(method); apierr.ReasonOf(err) != apierr.PermissionDenied {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// noHeaders takes headers and forgets them.
type noHeaders struct{}

func (noHeaders) Method() string               { return "" }
func (noHeaders) SetHeader(metadata.MD) error  { return nil }
func (noHeaders) SendHeader(metadata.MD) error { return nil }
func (noHeaders) SetTrailer(metadata.MD) error { return nil }

func TestPublicMethodsNeedNoCallerAndLeaveNoRecord(t *testing.T) {
	g := newGate(t, DefaultConfig(), nil)
	ctx := grpc.NewContextWithServerTransportStream(t.Context(), noHeaders{})
	reached := false
	_, err := g.chain.Unary()(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/grpc.health.v1.Health/Check"},
		func(context.Context, any) (any, error) { reached = true; return nil, nil })
	if err != nil || !reached {
		t.Fatalf("reached: %v, %v", reached, err)
	}
	if n := len(g.records(t)); n != 0 {
		t.Errorf("%d records of health checks", n)
	}
}
