package openai

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// question is a user's last message, which is compared with those of requests that
// are the same in everything else.
type question struct {
	text string
	rest respcache.Key
	// scope is rest and what made the vector; both are set once that is known.
	scope  respcache.Key
	vector []float32
}

const (
	// similarTime bounds what comparing adds to a request.
	similarTime = 2 * time.Second
	// maxQuestion bounds what is compared, in bytes.
	maxQuestion = 8192
)

// comparable returns the question of a conversation that may be answered with what
// was kept for another; nil: it may not.
func (s *Server) comparable(p *plan, req *edgev1.CreateChatCompletionRequest) *question {
	if p.Rule.Semantic.Model == "" || p.Wish.NoSemantic || req.GetRetrieval() != nil || req.GetMemory() != nil || len(req.GetTools()) > 0 {
		return nil
	}
	list := req.GetMessages()
	last := list[len(list)-1]
	text, plain := last.GetContent().GetContent().(*edgev1.MessageContent_Text)
	if last.GetRole() != "user" || !plain || text.Text == "" || len(text.Text) > maxQuestion {
		return nil
	}
	without, ok := proto.Clone(req).(*edgev1.CreateChatCompletionRequest)
	if !ok {
		return nil
	}
	without.Messages[len(list)-1].Content = nil
	scope := p.scope
	scope.Operation += " similar"
	rest, err := respcache.KeyOf(&scope, without)
	if err != nil {
		return nil
	}
	return &question{text: text.Text, rest: rest}
}

// findSimilar returns what is kept for a question of nearly the same meaning, and
// how similar it is; nil: there is nothing. That nothing can be compared now is no
// error.
func (s *Server) findSimilar(ctx context.Context, p *plan, setHeader func(metadata.MD) error) (*respcache.Entry, float64) {
	if p.similar == nil || p.Wish.NoCache || !s.embedQuestion(ctx, p, setHeader) {
		return nil, 0
	}
	key, similarity, ok := s.Answers.Cache.Nearest(p.similar.scope, p.similar.vector, p.Rule.Semantic.Threshold)
	if !ok {
		return nil, 0
	}
	ask := p.Ask
	ask.Key = key
	e, state := s.Answers.Cache.Find(ctx, &ask)
	// What is kept is of this very scope: its key was only ever noted there.
	if e == nil || state != respcache.Hit || !servedAs(p.serving, e.By) {
		return nil, 0
	}
	return e, similarity
}

// embedQuestion notes the question's vector.
func (s *Server) embedQuestion(ctx context.Context, p *plan, setHeader func(metadata.MD) error) bool {
	ctx, cancel := context.WithTimeout(ctx, similarTime)
	defer cancel()
	q, model := p.similar, p.Rule.Semantic.Model
	hold, err := s.Meters.Begin(ctx, metering.Demand{Kind: metering.Embed, Model: model, PromptBytes: len(q.text), Beside: true, Optional: true}, setHeader)
	if err != nil {
		return false
	}
	resp, err := s.Inference.Embed(ctx, &inferencev1.EmbedRequest{Model: model, Inputs: []*workerv1.EmbedInput{textInput(q.text)}, RoutingKey: p.tenant})
	if err == nil {
		hold.Note(metering.Use{By: resp.GetServedBy(), Tokens: resp.GetUsage()})
	}
	hold.End(ctx, err)
	if err != nil || len(resp.GetEmbeddings()) != 1 || resp.GetServedBy().GetDigest() == "" {
		return false
	}
	q.vector = resp.GetEmbeddings()[0].GetValues()
	q.scope = scopeOf(q.rest, resp.GetServedBy(), q.text)
	return true
}

// scopeOf is within what questions are compared: what was asked besides, what made the
// vectors, and the numbers in the question, which embeddings hardly tell apart.
func scopeOf(rest respcache.Key, by *inferencev1.ServedBy, text string) respcache.Key {
	return sha256.Sum256(append(rest[:], by.GetDigest()+"/"+by.GetVariantDigest()+"/"+numbers(text)...))
}

// numbers are the numbers of a text, by their digits and in their order.
func numbers(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsNumber(r) }), " ")
}
