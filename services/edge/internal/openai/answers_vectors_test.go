package openai

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// embedder is an engine that reads 10 tokens a byte, and answers when it is let go on. The
// vector of a text begins with its length.
type embedder struct {
	sure

	mu    sync.Mutex
	asked [][]string
	ended []error
	goOn  chan struct{}
	// digest is what answers, after what was to; fail is its answer.
	digest string
	fail   error
}

func newEmbedder() *embedder {
	return &embedder{sure: sure{engine: new(engine)}, goOn: make(chan struct{}), digest: "sha256:3"}
}

func (e *embedder) Embed(ctx context.Context, in *inferencev1.EmbedRequest, _ ...grpc.CallOption) (*inferencev1.EmbedResponse, error) {
	var texts []string
	out := &inferencev1.EmbedResponse{Usage: &commonv1.TokenUsage{PromptTokens: int32(10 * embedSize(in.GetInputs()))}}
	for _, i := range in.GetInputs() {
		texts = append(texts, i.GetText())
		out.Embeddings = append(out.Embeddings, &workerv1.Embedding{Values: []float32{float32(len(i.GetText())), 1}})
	}
	e.mu.Lock()
	e.asked = append(e.asked, texts)
	e.mu.Unlock()
	var err error
	select {
	case <-e.goOn:
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	out.ServedBy = &inferencev1.ServedBy{Model: "small", Version: 3, Digest: e.digest}
	if err == nil {
		err = e.fail
	}
	e.ended = append(e.ended, err)
	return out, err
}

// bills is what each user pays for, and was saved, in tokens; it refuses some.
type bills struct {
	mu          sync.Mutex
	paid, saved map[string]int
	refuse      map[string]chan struct{}
	besides     int
}

type bill struct {
	of   *bills
	user string
	used int
}

func (b *bills) Begin(_ context.Context, d metering.Demand, _ func(metadata.MD) error) (metering.Hold, error) {
	b.mu.Lock()
	refuse := b.refuse[d.User]
	if d.Beside {
		b.besides++
	}
	b.mu.Unlock()
	if refuse != nil {
		<-refuse
		return nil, apierr.New(apierr.QuotaExceeded, "the budget is spent")
	}
	return &bill{of: b, user: d.User}, nil
}

func (b *bill) Note(u metering.Use) { b.used = int(u.Tokens.GetPromptTokens()) }

func (b *bill) End(context.Context, error) {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.of.paid[b.user] += b.used
}

func (b *bills) Saved(ctx context.Context, w metering.Work, _ bool) {
	c, _ := identity.FromContext(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved[c.Subject] += int(w.Tokens.GetPromptTokens())
}

// embedding is a test of callers who want vectors at once.
type embedding struct {
	*testing.T
	engine *embedder
	bills  *bills
	server *Server
	ctx    context.Context
	answer map[string]*edgev1.CreateEmbeddingResponse
	errs   map[string]error
	mu     sync.Mutex
	all    sync.WaitGroup
}

func newEmbedding(t *testing.T) *embedding {
	t.Helper()
	e := &embedding{
		T: t, engine: newEmbedder(), bills: &bills{paid: map[string]int{}, saved: map[string]int{}, refuse: map[string]chan struct{}{}},
		answer: map[string]*edgev1.CreateEmbeddingResponse{}, errs: map[string]error{},
	}
	e.server, e.ctx, _ = keeping(t, new(meter), e.engine.sure, nil)
	e.server.Inference, e.server.Meters = e.engine, metering.Meters{e.bills}
	return e
}

// wants has a user ask for vectors, and returns when they wait for them.
func (e *embedding) wants(user string, texts ...string) (leave func()) {
	ctx, leave := context.WithCancel(identity.NewContext(e.ctx, identity.Caller{Tenant: "acme", Subject: user}))
	req := &edgev1.CreateEmbeddingRequest{Model: "small", User: user, Input: &edgev1.TextInput{Input: &edgev1.TextInput_List{List: new(edgev1.TextInputList)}}}
	for _, text := range texts {
		list := req.GetInput().GetList()
		list.Items = append(list.Items, &edgev1.TextInputItem{Item: &edgev1.TextInputItem_Text{Text: text}})
	}
	e.all.Go(func() {
		defer leave()
		answer, err := e.server.CreateEmbedding(ctx, req)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.answer[user], e.errs[user] = answer, err
		if err != nil {
			return
		}
		for i, text := range texts {
			if got := answer.GetData()[i].GetEmbedding().GetFloats().GetValues(); len(got) != 2 || int(got[0]) != len(text) {
				e.Errorf("%s: the vector of %q is %v", user, text, got)
			}
		}
	})
	synctest.Wait()
	return leave
}

// ends lets the engine go on until everybody has an answer.
func (e *embedding) ends() {
	e.Helper()
	close(e.engine.goOn)
	e.all.Wait()
	synctest.Wait()
}

func (e *embedding) held(asked string, paid, saved map[string]int) {
	e.Helper()
	e.bills.mu.Lock()
	defer e.bills.mu.Unlock()
	if got := fmt.Sprint(e.engine.asked); got != asked {
		e.Errorf("the engine was asked for %s, want %s", got, asked)
	}
	if fmt.Sprint(e.bills.paid) != fmt.Sprint(paid) || fmt.Sprint(e.bills.saved) != fmt.Sprint(saved) {
		e.Errorf("paid %v, saved %v; want %v and %v", e.bills.paid, e.bills.saved, paid, saved)
	}
}

// Inputs that several want at once are embedded once, in whichever batch they stand,
// and each pays for those that it had embedded.
func TestInputsInDifferentBatchesAreOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmbedding(t)
		e.wants("ana", "a", "bb", "a")
		e.wants("ben", "bb")
		e.wants("cat", "ccc", "bb", "a")
		e.wants("dan", "ccc", "a")
		e.ends()
		e.held("[[a bb] [ccc]]", map[string]int{"ana": 30, "cat": 30}, map[string]int{"ana": 10, "ben": 20, "cat": 30, "dan": 40})
		for user, want := range map[string]int32{"ana": 40, "ben": 20, "cat": 60, "dan": 40} {
			if got := e.answer[user].GetUsage().GetPromptTokens(); e.errs[user] != nil || got != want {
				t.Errorf("%s: %d tokens, %v", user, got, e.errs[user])
			}
		}
		stats := respcache.NewServer(respcache.ServerDeps{Cache: e.server.Answers.Cache})
		got, err := stats.GetCacheStats(e.ctx, &edgev1.GetCacheStatsRequest{Tenant: "acme"})
		if err != nil || got.GetHits() != 2 || got.GetMisses() != 2 || got.GetSavedPromptTokens() != 100 {
			t.Errorf("%v, %v", got, err)
		}
		e.wants("eve", "ccc", "bb", "a") // nobody is asked any more
		e.held("[[a bb] [ccc]]", map[string]int{"ana": 30, "cat": 30}, map[string]int{"ana": 10, "ben": 20, "cat": 30, "dan": 40, "eve": 60})
	})
}

// Who began may go away: the others get what they wait for, and the one who began
// pays for it.
func TestVectorsOutliveWhoBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmbedding(t)
		leave := e.wants("ana", "a")
		e.wants("ben", "a")
		leave()
		synctest.Wait()
		if !errors.Is(e.errs["ana"], context.Canceled) || e.engine.ended != nil {
			t.Fatalf("%v, the engine ended with %v", e.errs["ana"], e.engine.ended)
		}
		e.ends()
		if e.errs["ben"] != nil {
			t.Error(e.errs["ben"])
		}
		e.held("[[a]]", map[string]int{"ana": 10}, map[string]int{"ben": 10})
	})
}

// When nobody waits any more the engine is told to stop, and the next one asks anew.
func TestVectorsForNobodyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmbedding(t)
		one, two := e.wants("ana", "a"), e.wants("ben", "a")
		one()
		two()
		synctest.Wait()
		if len(e.engine.ended) != 1 || !errors.Is(e.engine.ended[0], context.Canceled) {
			t.Errorf("the engine ended with %v", e.engine.ended)
		}
		e.wants("cat", "a")
		e.ends()
		e.held("[[a] [a]]", map[string]int{"ana": 0, "cat": 10}, map[string]int{})
	})
}

// A refusal is the one's who began: who waits has it made on their own account.
func TestARefusedBatchIsMadeByWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmbedding(t)
		e.bills.refuse["ana"] = make(chan struct{})
		e.wants("ana", "a", "bb")
		e.wants("ben", "bb", "ccc")
		close(e.bills.refuse["ana"])
		e.ends()
		if apierr.ReasonOf(e.errs["ana"]) != apierr.QuotaExceeded || e.errs["ben"] != nil || e.bills.besides != 1 {
			t.Errorf("%v, %v, %d besides", e.errs["ana"], e.errs["ben"], e.bills.besides)
		}
		e.held("[[ccc] [bb]]", map[string]int{"ben": 50}, map[string]int{})
	})
}

// An engine's error is everybody's, and is not kept.
func TestAnErrorOfABatchIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmbedding(t)
		e.engine.fail = apierr.New(apierr.Overloaded, "no room")
		e.wants("ana", "a")
		e.wants("ben", "a")
		e.ends()
		for _, user := range []string{"ana", "ben"} {
			if apierr.ReasonOf(e.errs[user]) != apierr.Overloaded {
				t.Errorf("%s: %v", user, e.errs[user])
			}
		}
		e.engine.fail = nil
		e.wants("cat", "a")
		if e.errs["cat"] != nil || len(e.engine.asked) != 2 {
			t.Errorf("%v, asked %v", e.errs["cat"], e.engine.asked)
		}
	})
}

// Vectors of two versions are never given together.
func TestVectorsOfTwoVersionsAreNotMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmbedding(t)
		e.wants("ana", "a")
		close(e.engine.goOn)
		e.all.Wait() // one is kept, of version 3
		e.engine.digest = "sha256:4"
		e.wants("ben", "a", "bb")
		e.all.Wait()
		if e.errs["ben"] != nil || !slices.Equal(e.engine.asked[len(e.engine.asked)-1], []string{"a", "bb"}) {
			t.Errorf("%v, asked %v", e.errs["ben"], e.engine.asked)
		}
		e.held("[[a] [bb] [a bb]]", map[string]int{"ana": 10, "ben": 50}, map[string]int{})
	})
}
