package search_test

import (
	"context"
	"hash/fnv"
	"strings"
	"sync"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

const fakeDimensions = 64

// fakeInference stands in for the inference service: a vector is a bag of
// hashed words, so texts that share words are near.
type fakeInference struct {
	inferencev1.UnimplementedInferenceServiceServer

	mu       sync.Mutex
	away     bool
	digest   string
	salted   bool     // whether versions differ in their vectors
	passages int      // embedded so far
	models   []string // asked for, in order
	callers  []identity.Caller
	queries  []string // embedded or judged by
	hook     func(req *inferencev1.EmbedRequest) error

	// tokens counts, where it is set, and no more than context are taken; counts is
	// how many texts were counted, and uncounted how often that was asked in vain.
	tokens            func(text string) int
	context           int
	counts, uncounted int

	judged []string // documents that were sent to be scored
	score  func(document string) float64
	// judging is called before documents are scored; nil: nothing is.
	judging func(ctx context.Context)
}

// Rerank scores by score, or by length.
func (f *fakeInference) Rerank(ctx context.Context, req *inferencev1.RerankRequest) (*inferencev1.RerankResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	caller, _ := identity.FromContext(ctx)
	f.callers = append(f.callers, caller)
	f.judged, f.queries = append(f.judged, req.GetDocuments()...), append(f.queries, req.GetQuery())
	if f.judging != nil {
		f.judging(ctx)
	}
	switch {
	case req.GetModel() == "nothing":
		return nil, apierr.New(apierr.ModelNotFound, "there is no model %q", req.GetModel()).WithField("model")
	case req.GetModel() == "chatty":
		return nil, apierr.Invalid("model", "model %q is for chat, and not for reranking", req.GetModel())
	case f.away:
		return nil, apierr.New(apierr.Unavailable, "no worker has the model")
	}
	resp := &inferencev1.RerankResponse{ServedBy: &inferencev1.ServedBy{Model: "judge", Version: 2}, Usage: new(commonv1.TokenUsage)}
	for _, d := range req.GetDocuments() {
		resp.Usage.PromptTokens += words(req.GetQuery()) + words(d)
		score := float64(len(d))
		if f.score != nil {
			score = f.score(d)
		}
		resp.RelevanceScores = append(resp.RelevanceScores, score)
	}
	return resp, nil
}

func (f *fakeInference) Embed(ctx context.Context, req *inferencev1.EmbedRequest) (*inferencev1.EmbedResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	caller, _ := identity.FromContext(ctx)
	f.callers = append(f.callers, caller)
	f.models = append(f.models, req.GetModel())
	if f.away {
		return nil, apierr.New(apierr.Unavailable, "no worker has the model")
	}
	if f.hook != nil {
		if err := f.hook(req); err != nil {
			return nil, err
		}
	}
	digest := f.digest
	if _, pinned, ok := strings.Cut(req.GetModel(), "@"); ok {
		digest = pinned
	}
	resp := &inferencev1.EmbedResponse{ServedBy: &inferencev1.ServedBy{Model: "fake", Digest: digest}, Usage: new(commonv1.TokenUsage)}
	for _, in := range req.GetInputs() {
		resp.Usage.PromptTokens += words(in.GetText())
		if req.GetInputType() == "passage" {
			f.passages++
		} else {
			f.queries = append(f.queries, in.GetText())
		}
		text := in.GetText()
		if f.salted {
			text = salt(text, digest)
		}
		resp.Embeddings = append(resp.Embeddings, &workerv1.Embedding{Values: bagOfWords(text)})
	}
	return resp, nil
}

func (f *fakeInference) GetServedModel(_ context.Context, req *inferencev1.GetServedModelRequest) (*inferencev1.GetServedModelResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name, _, _ := strings.Cut(req.GetModel(), "@")
	m := &inferencev1.ServedModel{Name: name, Task: commonv1.Task_TASK_EMBEDDING}
	switch {
	case f.away:
		return nil, apierr.New(apierr.Unavailable, "the models are not known yet")
	case name == "nothing":
		return nil, apierr.New(apierr.ModelNotFound, "there is no model %q", name).WithField("model")
	case name == "chatty":
		m.Task = commonv1.Task_TASK_CHAT
	}
	return &inferencev1.GetServedModelResponse{Model: m}, nil
}

// salt makes other words of a text's words.
func salt(text, salt string) string {
	var out []string
	for w := range strings.FieldsSeq(text) {
		out = append(out, salt+w)
	}
	return strings.Join(out, " ")
}

// words is how many tokens the models count.
func words(text string) int32 { return int32(len(strings.Fields(text))) }

func bagOfWords(text string) []float32 {
	v := make([]float32, fakeDimensions)
	for w := range strings.FieldsSeq(strings.ToLower(text)) {
		h := fnv.New32a()
		_, _ = h.Write([]byte(strings.Trim(w, ".,;:!?")))
		v[h.Sum32()%fakeDimensions]++
	}
	return v
}

// set changes the fake while it is in use.
func (f *fakeInference) set(change func(*fakeInference)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeInference) embedded() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passages
}
