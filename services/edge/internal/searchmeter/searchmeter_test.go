package searchmeter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// notes is a meter that writes down what happens.
type notes struct {
	mu     sync.Mutex
	lines  []string
	refuse metering.Kind // "": nothing
	left   int           // how many are let in before that
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) want(t *testing.T, lines ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.lines, lines) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(n.lines, "\n"), strings.Join(lines, "\n"))
	}
	n.lines = nil
}

var errRefused = apierr.New(apierr.QuotaExceeded, "the budget is used up")

func (n *notes) Begin(_ context.Context, d metering.Demand, _ func(metadata.MD) error) (metering.Hold, error) {
	n.mu.Lock()
	refused := d.Kind == n.refuse && n.left == 0
	n.left--
	n.mu.Unlock()
	if refused {
		return nil, errRefused
	}
	if !d.Beside {
		return nil, errors.New("the request's Idempotency-Key is not about it")
	}
	part := d.Part
	if d.Optional {
		part += "optional"
	}
	n.add("%s %s %d bytes %d documents %s", d.Kind, d.Model, d.PromptBytes, d.Documents, part)
	return &noted{notes: n, kind: d.Kind}, nil
}

type noted struct {
	notes *notes
	kind  metering.Kind
	use   string
}

func (h *noted) Note(u metering.Use) {
	h.use = fmt.Sprintf(" %s@v%d %d tokens %d documents", u.By.GetModel(), u.By.GetVersion(), u.Tokens.GetPromptTokens(), u.Documents)
}

func (h *noted) End(_ context.Context, err error) {
	h.notes.add("%s ends:%s %t", h.kind, h.use, err == nil)
}

// backend answers every call.
type backend struct {
	grpc.ClientConnInterface
	asked   int
	answer  proto.Message
	err     error
	trailer metadata.MD
	stream  grpc.ClientStream
}

func (b *backend) Invoke(_ context.Context, _ string, _, reply any, opts ...grpc.CallOption) error {
	b.asked++
	for _, o := range opts {
		if to, ok := o.(grpc.TrailerCallOption); ok {
			*to.TrailerAddr = b.trailer
		}
	}
	if into, ok := reply.(proto.Message); ok && b.answer != nil {
		proto.Merge(into, b.answer)
	}
	return b.err
}

func (b *backend) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return b.stream, nil
}

// shelf knows collections.
type shelf struct {
	asked int
	err   error
}

func (s *shelf) GetCollection(_ context.Context, req *searchv1.GetCollectionRequest, _ ...grpc.CallOption) (*searchv1.GetCollectionResponse, error) {
	s.asked++
	if s.err != nil {
		return nil, s.err
	}
	return &searchv1.GetCollectionResponse{Collection: &searchv1.Collection{
		Id: req.GetCollection(), EmbeddingModel: "e5", Chunking: &searchv1.Chunking{MaxWords: 100},
	}}, nil
}

func work(kind, model string, version, tokens, documents int32) *searchv1.ModelWork {
	return &searchv1.ModelWork{Kind: kind, Model: model, Version: version, InputTokens: tokens, Documents: documents}
}

func search(ctx context.Context, c grpc.ClientConnInterface, req *searchv1.SearchRequest) error {
	req.Collection = "c"
	return c.Invoke(ctx, searchv1.SearchService_Search_FullMethodName, req, new(searchv1.SearchResponse))
}

func retrieving(n *notes, b *backend) grpc.ClientConnInterface {
	return New(b, Options{Meters: metering.Meters{n}, Collections: NewCollections(&shelf{}, clock.Real()), Part: "retrieval"})
}

func TestASearchReservesWhatItMayTake(t *testing.T) {
	n, b := new(notes), &backend{answer: &searchv1.SearchResponse{ModelWork: []*searchv1.ModelWork{work("embed", "e5", 2, 3, 0), work("rerank", "judge", 1, 40, 4)}}}
	c := retrieving(n, b)
	must := func(req *searchv1.SearchRequest) {
		t.Helper()
		if err := search(t.Context(), c, req); err != nil {
			t.Fatal(err)
		}
	}
	must(&searchv1.SearchRequest{Query: "four", Rerank: &searchv1.Rerank{Model: "judge", TopN: 10}})
	n.want(t, "embed e5 4 bytes 0 documents retrieval/embed", "rerank judge 2040 bytes 10 documents retrieval/rerank",
		"embed ends: e5@v2 3 tokens 0 documents true", "rerank ends: judge@v1 40 tokens 4 documents true")
	// A further page is not reranked, and words alone ask no model.
	b.answer = nil
	must(&searchv1.SearchRequest{Query: "four", Rerank: &searchv1.Rerank{Model: "judge"}, PageToken: "x"})
	n.want(t, "embed e5 4 bytes 0 documents retrieval/embed", "embed ends: false")
	must(&searchv1.SearchRequest{Query: "four", Mode: "lexical"})
	n.want(t)
	must(&searchv1.SearchRequest{Query: "four", Mode: "lexical", Rerank: &searchv1.Rerank{Model: "judge"}})
	n.want(t, "rerank judge 10200 bytes 50 documents retrieval/rerank", "rerank ends: false")
}

func TestDocumentsReserveTheirBytes(t *testing.T) {
	n, b := new(notes), &backend{answer: &searchv1.BatchUpsertDocumentsResponse{ModelWork: []*searchv1.ModelWork{work("embed", "e5", 1, 3, 0), work("embed", "e5", 2, 9, 0)}}}
	err := retrieving(n, b).Invoke(t.Context(), searchv1.SearchService_BatchUpsertDocuments_FullMethodName, &searchv1.BatchUpsertDocumentsRequest{Documents: []*searchv1.Document{
		{Title: "ab", Text: "cde"}, {Content: make([]byte, 80), ContentType: "application/pdf"}, {Content: make([]byte, 80), ContentType: "text/html; charset=utf-8"},
	}}, new(searchv1.BatchUpsertDocumentsResponse))
	if err != nil {
		t.Fatal(err)
	}
	n.want(t, "embed e5 95 bytes 0 documents retrieval/embed", "embed ends: e5@v2 12 tokens 0 documents true")
}

func TestARefusalAsksNobody(t *testing.T) {
	n, b := &notes{refuse: metering.Rerank, left: 1}, new(backend)
	err := search(t.Context(), retrieving(n, b), &searchv1.SearchRequest{Query: "four", Rerank: &searchv1.Rerank{Model: "judge", TopN: 1}})
	if !errors.Is(err, errRefused) || b.asked != 0 {
		t.Errorf("%v, and search was asked %d times", err, b.asked)
	}
	n.want(t, "embed e5 4 bytes 0 documents retrieval/embed", "embed ends: false")
}

func TestAFailureIsGivenBack(t *testing.T) {
	n, b := new(notes), &backend{err: apierr.New(apierr.Unavailable, "away"), answer: &searchv1.SearchResponse{ModelWork: []*searchv1.ModelWork{work("embed", "e5", 2, 3, 0)}}}
	if err := search(t.Context(), retrieving(n, b), &searchv1.SearchRequest{Query: "four"}); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("got %v", err)
	}
	n.want(t, "embed e5 4 bytes 0 documents retrieval/embed", "embed ends: false")
}

// trailing is a trailer that tells of works.
func trailing(t *testing.T, works ...*searchv1.ModelWork) metadata.MD {
	t.Helper()
	md := make(metadata.MD)
	for _, w := range works {
		text, err := proto.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		md.Append(trailerWork, string(text))
	}
	return md
}

// What models did before a search failed is settled; what an answer tells is not told
// twice.
func TestAFailureIsSettledByItsTrailer(t *testing.T) {
	n, b := new(notes), &backend{err: apierr.New(apierr.Unavailable, "away"), trailer: trailing(t, work("embed", "e5", 2, 3, 0))}
	ask := &searchv1.SearchRequest{Query: "four", Rerank: &searchv1.Rerank{Model: "judge", TopN: 10}}
	if err := search(t.Context(), retrieving(n, b), ask); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("got %v", err)
	}
	began := []string{"embed e5 4 bytes 0 documents retrieval/embed", "rerank judge 2040 bytes 10 documents retrieval/rerank"}
	n.want(t, append(began, "embed ends: e5@v2 3 tokens 0 documents false", "rerank ends: false")...)

	b.err, b.answer = nil, &searchv1.SearchResponse{ModelWork: []*searchv1.ModelWork{work("embed", "e5", 2, 3, 0)}}
	if err := search(t.Context(), retrieving(n, b), ask); err != nil {
		t.Fatal(err)
	}
	n.want(t, append(began, "embed ends: e5@v2 3 tokens 0 documents true", "rerank ends: false")...)

	b.err, b.trailer = apierr.New(apierr.Unavailable, "away"), metadata.Pairs(trailerWork, "\xff\xff")
	_ = search(t.Context(), retrieving(n, b), ask)
	n.want(t, append(began, "embed ends: false", "rerank ends: false")...)
}

// A search that is asked a second time has entries of its own.
func TestASecondSearchIsBesideTheFirst(t *testing.T) {
	n, b := new(notes), &backend{answer: &searchv1.SearchResponse{ModelWork: []*searchv1.ModelWork{work("embed", "e5", 2, 3, 0)}}}
	var asked atomic.Bool
	if err := search(Again(t.Context(), &asked), retrieving(n, b), &searchv1.SearchRequest{Query: "four"}); err != nil || !asked.Load() {
		t.Fatal(err, asked.Load())
	}
	n.want(t, "embed e5 4 bytes 0 documents optional", "embed ends: e5@v2 3 tokens 0 documents true")

	n.refuse, n.left = metering.Embed, 0
	asked.Store(false)
	if err := search(Again(t.Context(), &asked), retrieving(n, b), &searchv1.SearchRequest{Query: "four"}); err == nil || asked.Load() {
		t.Errorf("without room it is asked: %v, %v", asked.Load(), err)
	}
}

// ticking is a clock that is set by hand.
type ticking struct {
	clock.Clock
	now time.Time
}

func (c *ticking) Now() time.Time { return c.now }

func TestCollectionsAreRememberedForAWhile(t *testing.T) {
	s, now := new(shelf), &ticking{Clock: clock.Real(), now: time.Unix(1e9, 0)}
	c := NewCollections(s, now)
	of := func(tenant, id string) (collection, error) {
		return c.of(identity.NewContext(t.Context(), identity.Caller{Tenant: tenant}), id)
	}
	for range 3 {
		if k, err := of("acme", "a"); err != nil || k.model != "e5" || k.passage != 200 {
			t.Fatalf("%+v, %v", k, err)
		}
	}
	_, _ = of("evil", "a")
	if s.asked != 2 {
		t.Errorf("it was asked %d times, want once for each tenant", s.asked)
	}
	now.now = now.now.Add(knownFor)
	_, _ = of("acme", "a")
	if s.asked != 3 {
		t.Error("it is remembered for ever")
	}
	for i := range maxKnown + 1 {
		_, _ = of("acme", fmt.Sprint(i))
	}
	if len(c.known) > maxKnown {
		t.Errorf("%d are remembered", len(c.known))
	}
	// One that is not there may be there in a moment; of a service that cannot tell it
	// is not asked again and again.
	s.err = apierr.New(apierr.NotFound, "there is none")
	if _, err := of("acme", "none"); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("got %v", err)
	}
	s.err = apierr.New(apierr.Unimplemented, "not known")
	s.asked = 0
	for range 2 {
		if k, err := of("acme", "none"); err != nil || k.model != "" || k.passage != passageTokens {
			t.Errorf("%+v, %v", k, err)
		}
	}
	if s.asked != 1 {
		t.Errorf("it was asked %d times", s.asked)
	}
}
