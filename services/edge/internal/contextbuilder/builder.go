// Package contextbuilder answers a request's `retrieval`: it looks passages up
// as the caller, who therefore sees nothing in an answer that they may not
// read, packs them into the prompt as data, and holds what an answer cites against
// them. It does not call the model. Start reading at Builder; Citer is the other end.
package contextbuilder

import (
	"cmp"
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// ErrNothingFound is for a question that is to be answered from passages, of which
// there are none: NotFoundAnswer is the answer, and no model is asked.
var ErrNothingFound = errors.New("contextbuilder: nothing was found")

// Searcher is what this package needs of the search service.
type Searcher interface {
	Search(ctx context.Context, in *searchv1.SearchRequest, opts ...grpc.CallOption) (*searchv1.SearchResponse, error)
}

// Models tells how much a model's prompt may hold.
type Models interface {
	GetServedModel(ctx context.Context, in *inferencev1.GetServedModelRequest, opts ...grpc.CallOption) (*inferencev1.GetServedModelResponse, error)
}

// Inspector looks at passages before a model reads them.
type Inspector interface {
	Of(ctx context.Context, side detect.Side, model string) *inspect.Inspection
}

const (
	// defaultTopK is how many passages a request gets that does not say.
	defaultTopK = 5
	// maxQuery is the longest query that search takes, in characters.
	maxQuery = 8192
	// How a collection is searched; the default is that of a request that does not say.
	modeLexical = "lexical"
	defaultMode = "hybrid"
)

// Builder packs passages into prompts. It is safe for concurrent use.
type Builder struct {
	cfg    Config
	search Searcher
	models Models
	look   Inspector
	clock  clock.Clock
}

// New returns a builder.
func New(cfg Config, search Searcher, models Models, look Inspector) *Builder {
	return &Builder{cfg: cfg, search: search, models: models, look: look, clock: clock.Real()}
}

// WithClock takes the time from c, and returns b.
func (b *Builder) WithClock(c clock.Clock) *Builder {
	b.clock = c
	return b
}

// NotFoundAnswer is what is answered where ErrNothingFound is returned.
func (b *Builder) NotFoundAnswer() string { return b.cfg.NotFoundAnswer }

// Found is what went into a prompt.
type Found struct {
	// Citations are one for each passage, in the order of their numbers.
	Citations []*edgev1.Annotation
	// Generation is the collection's that was searched.
	Generation int64
	// Degraded says that the search was not done as was asked, or only in part.
	Degraded bool
	// Tokens is the prompt's size as the model's tokeniser counted it; 0: it did not.
	Tokens int
}

// Build looks up what req.retrieval asks for, as the caller of ctx, and puts it
// into req's messages, or into a variable of its prompt. There are no citations when
// nothing was found, which the prompt then says; where that is not to be answered by a
// model the error is ErrNothingFound. count counts req as it is by then; nil: nobody
// can. What was packed and what was left out is noted for who asks why.
func (b *Builder) Build(ctx context.Context, req *edgev1.CreateChatCompletionRequest, count Count) (*Found, error) {
	start, r := b.clock.Now(), req.GetRetrieval()
	ask, err := b.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	found, err := b.search.Search(ctx, ask)
	if err != nil {
		return nil, underRetrieval(err)
	}
	chosen, err := b.choose(ctx, req, found)
	if err != nil {
		return nil, err
	}
	model, err := b.models.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: req.GetModel()})
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	// Of a model that cannot be asked about nothing is known: whether it is there, and
	// whether another answers instead, is said when it is asked.
	w := b.window(int(model.GetModel().GetContextLength()), req)
	n := notes{start: start, clock: b.clock, ask: ask, found: found, chosen: chosen, window: w}
	required := b.cfg.RequirePassages
	if r.RequirePassages != nil {
		required = r.GetRequirePassages()
	}
	if required && len(chosen.hits) == 0 {
		n.decide(ctx, outcomeNotFound)
		return nil, ErrNothingFound
	}
	n.order = cmp.Or(r.GetOrder(), b.cfg.Order)
	n.fitted = b.fit(ctx, newSlot(req, b.cfg.Placement), chosen.hits, w, n.order, count)
	if required && len(n.fitted.passages) == 0 {
		n.decide(ctx, outcomeNoRoom)
		return nil, apierr.New(apierr.ContextLengthExceeded, "the conversation leaves no room for passages in the model's %d tokens", w.length).WithField("messages")
	}
	n.decide(ctx, outcomePacked)
	return &Found{
		Citations: citations(n.fitted.passages), Generation: found.GetGeneration(), Tokens: n.fitted.tokens,
		Degraded: len(found.GetWarnings()) > 0 || found.GetMode() != cmp.Or(r.GetMode(), defaultMode),
	}, nil
}

// ask is what search is asked for.
func (b *Builder) ask(ctx context.Context, req *edgev1.CreateChatCompletionRequest) (*searchv1.SearchRequest, error) {
	r := req.GetRetrieval()
	query := r.GetQuery()
	plain := query == "" // a message is no search: its quotes and dashes mean nothing
	if question := lastUser(req.GetMessages()); plain && question >= 0 {
		query = firstRunes(text(req.GetMessages()[question].GetContent()), maxQuery)
	}
	switch {
	case query == "":
		return nil, invalid("retrieval.query", "is required when no user's message has text")
	case r.GetVariable() != "" && req.GetPrompt() == nil:
		return nil, invalid("retrieval.variable", "is a variable of a prompt of the registry, which the request must name")
	case r.MinRelevance != nil && r.GetRerank() == nil:
		return nil, invalid("retrieval.min_relevance", "is only allowed together with rerank")
	case r.MinSimilarity != nil && r.GetMode() == modeLexical:
		return nil, invalid("retrieval.min_similarity", "is not allowed where only words are looked for")
	}
	return &searchv1.SearchRequest{
		Collection: r.GetCollection(), Query: query, TopK: cmp.Or(r.GetTopK(), defaultTopK), Filter: r.GetFilter(), Mode: r.GetMode(), Plain: plain,
		Deduplicate: b.cfg.Deduplicate, Explain: r.MinSimilarity != nil, Rerank: r.GetRerank(),
		RequiredFilter: obligation.LimitsFrom(ctx).Classes.Filter(),
	}, nil
}

func invalid(field, message string) error { return apierr.Invalid(field, "%s: %s", field, message) }

// underRetrieval names the member of the chat request that a refusal of search
// is about.
func underRetrieval(err error) error {
	e := apierr.From(err)
	if e.Field == "" {
		return err
	}
	moved := *e
	moved.Field = "retrieval." + e.Field
	moved.Violations = nil
	for _, v := range e.Violations {
		moved.Violations = append(moved.Violations, apierr.Violation{Field: "retrieval." + v.Field, Description: v.Description})
	}
	return &moved
}
