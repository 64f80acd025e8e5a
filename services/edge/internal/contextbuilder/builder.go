// Package contextbuilder answers a request's `retrieval`: it looks passages up
// as the caller, who therefore sees nothing in an answer that they may not
// read, and packs them into the prompt as data. It does not call the model.
// Start reading at Builder.
package contextbuilder

import (
	"cmp"
	"context"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

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

// Config is the section "context".
type Config struct {
	// DefaultContextLength is taken, in tokens, for models that do not tell theirs.
	DefaultContextLength int `yaml:"default_context_length"`
	// AnswerTokens are kept free for the answer of a request that does not say
	// how long it may be; at most half of the model's context is.
	AnswerTokens int `yaml:"answer_tokens"`
	// MaxPassageTokens bounds the passages in one prompt, whatever the model holds.
	MaxPassageTokens int `yaml:"max_passage_tokens"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{DefaultContextLength: 2048, AnswerTokens: 512, MaxPassageTokens: 8192}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.DefaultContextLength >= 256, prefix+".default_context_length", "must be at least 256, got %d", c.DefaultContextLength)
	p.Check(c.AnswerTokens >= 1, prefix+".answer_tokens", "must be positive, got %d", c.AnswerTokens)
	p.Check(c.MaxPassageTokens >= 64, prefix+".max_passage_tokens", "must be at least 64, got %d", c.MaxPassageTokens)
}

const (
	// defaultTopK is how many passages a request gets that does not say.
	defaultTopK = 5
	// maxQuery is the longest query that search takes, in characters.
	maxQuery = 8192
	// defaultMode is how a collection is searched by a request that does not say.
	defaultMode = "hybrid"
	// citation is the type of our annotations.
	citation = "document_citation"
)

// Builder packs passages into prompts. It is safe for concurrent use.
type Builder struct {
	cfg    Config
	search Searcher
	models Models
	look   Inspector
}

// New returns a builder.
func New(cfg Config, search Searcher, models Models, look Inspector) *Builder {
	return &Builder{cfg: cfg, search: search, models: models, look: look}
}

// Found is what went into a prompt.
type Found struct {
	// Citations are one for each passage, in the order of their numbers.
	Citations []*edgev1.Annotation
	// Generation is the collection's that was searched.
	Generation int64
	// Degraded says that the search was not done as was asked, or only in part.
	Degraded bool
}

// Build looks up what req.retrieval asks for, as the caller of ctx, and puts it
// into req's messages. There are no citations when nothing was found, which the
// prompt then says.
func (b *Builder) Build(ctx context.Context, req *edgev1.CreateChatCompletionRequest) (*Found, error) {
	r := req.GetRetrieval()
	question := lastUser(req.GetMessages())
	query := r.GetQuery()
	plain := query == "" // a message is no search: its quotes and dashes mean nothing
	if plain && question >= 0 {
		query = firstRunes(text(req.GetMessages()[question].GetContent()), maxQuery)
	}
	if query == "" {
		return nil, apierr.Invalid("retrieval.query", "retrieval.query: is required when no user's message has text")
	}
	topK := r.GetTopK()
	if topK == 0 {
		topK = defaultTopK
	}
	found, err := b.search.Search(ctx, &searchv1.SearchRequest{
		Collection: r.GetCollection(), Query: query, TopK: topK, Filter: r.GetFilter(), Mode: r.GetMode(), Plain: plain,
		RequiredFilter: obligation.LimitsFrom(ctx).Classes.Filter(),
	})
	if err != nil {
		return nil, underRetrieval(err)
	}
	room, err := b.room(ctx, req)
	if err != nil {
		return nil, err
	}
	passages := pack(b.inspected(ctx, req.GetModel(), found.GetHits()), room)
	insert(req, question, passages)
	return &Found{
		Citations: citations(passages), Generation: found.GetGeneration(),
		Degraded: len(found.GetWarnings()) > 0 || found.GetMode() != cmp.Or(r.GetMode(), defaultMode),
	}, nil
}

// inspected returns the hits less what must not reach the model: a passage in
// which something blocks is left out, so that no document can have questions
// refused.
func (b *Builder) inspected(ctx context.Context, model string, hits []*searchv1.Hit) []*searchv1.Hit {
	if b.look.Of(ctx, detect.Passage, model) == nil {
		return hits
	}
	out := make([]*searchv1.Hit, 0, len(hits))
	for _, h := range hits {
		in := b.look.Of(ctx, detect.Passage, model)
		h.Text, h.Title = in.Text(h.GetText()), in.Text(h.GetTitle())
		if !in.Blocked() {
			out = append(out, h)
		}
	}
	return out
}

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

// room returns how many tokens of passages the prompt has room for, by
// estimate; it may be 0 or less.
func (b *Builder) room(ctx context.Context, req *edgev1.CreateChatCompletionRequest) (int, error) {
	model, err := b.models.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: req.GetModel()})
	if err != nil {
		return 0, err
	}
	length := int(model.GetModel().GetContextLength())
	if length <= 0 {
		length = b.cfg.DefaultContextLength
	}
	answer := int(max(req.GetMaxCompletionTokens(), req.GetMaxTokens()))
	if answer <= 0 {
		answer = b.cfg.AnswerTokens
	}
	room := length - min(answer, length/2) - estimate(instructions) - messageOverhead
	for _, m := range req.GetMessages() {
		room -= estimate(text(m.GetContent())) + messageOverhead
	}
	return min(room, b.cfg.MaxPassageTokens), nil
}

func citations(passages []passage) []*edgev1.Annotation {
	out := make([]*edgev1.Annotation, 0, len(passages))
	for _, p := range passages {
		score := p.hit.GetScore()
		out = append(out, &edgev1.Annotation{
			Type: citation, DocumentId: p.hit.GetDocumentId(), ChunkId: p.hit.GetChunkId(),
			Score: &score, Title: p.hit.GetTitle(), Number: p.number,
		})
	}
	return out
}
