package engine

import (
	"context"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

var _ Continuer = (*client)(nil)

// Continuable reports whether the engine can be given the beginning of its
// answer, and the request is for plain text.
func (c *client) Continuable(op Operation, body []byte) bool {
	if c.d.prefill == prefillNone {
		return false
	}
	_, ok := readPlain(op, body)
	return ok
}

// Continue runs a request from where from says, and tells of each chunk what
// another engine would need to go on.
func (c *client) Continue(ctx context.Context, op Operation, body []byte, begun bool, from Continuation, sink Sink) (*commonv1.TokenUsage, error) {
	plain, ok := readPlain(op, body)
	if !ok || c.d.prefill == prefillNone {
		return nil, errNotContinuable()
	}
	j := &join{op: op, model: c.model, begun: begun, from: from}
	s := &stream{sink: sink, running: c.d.running, join: j, begun: begun}
	used := int(from.Usage.GetCompletionTokens())
	longer, spent, err := plain.extended(op, c.d.prefill, body, from.Text, used)
	if err != nil {
		return nil, err
	}
	p, err := c.prepare(op, longer, true)
	if err != nil {
		return nil, err
	}
	s.asked, s.meter.limits = p.asked, p.limits
	if spent {
		return j.end(s)
	}
	return c.run(ctx, op, p.body, s)
}

// join is where an answer's beginning and its rest meet. Chunks of the rest are
// made to look like those of the beginning.
type join struct {
	op    Operation
	model []byte // as JSON
	begun bool
	from  Continuation
	text  bool // some of the rest was passed on
	sum   commonv1.TokenUsage
}

// total adds the tokens of the beginning and of the rest. The prompt is the
// caller's: that the beginning was read again by another engine is not theirs.
func (j *join) total(rest *commonv1.TokenUsage) *commonv1.TokenUsage {
	base := j.from.Usage
	if base.GetPromptTokens() == 0 {
		j.sum.PromptTokens, j.sum.CachedPromptTokens, j.sum.AudioPromptTokens = rest.GetPromptTokens(), rest.GetCachedPromptTokens(), rest.GetAudioPromptTokens()
	} else {
		j.sum.PromptTokens, j.sum.CachedPromptTokens, j.sum.AudioPromptTokens = base.GetPromptTokens(), base.GetCachedPromptTokens(), base.GetAudioPromptTokens()
	}
	j.sum.ReasoningTokens = add(base.GetReasoningTokens(), rest.GetReasoningTokens())
	j.sum.AudioCompletionTokens = add(base.GetAudioCompletionTokens(), rest.GetAudioCompletionTokens())
	j.sum.CompletionTokens = add(base.GetCompletionTokens(), rest.GetCompletionTokens())
	j.sum.Estimated = base.GetEstimated() || rest.GetEstimated()
	return &j.sum
}

// pass returns what of a chunk is passed on, and sets what is told beside it.
func (j *join) pass(s *stream, c *chunk, bare bool, d delta) ([]byte, error) {
	s.progress = Progress{Text: d.text, Stopped: d.stopped, Other: d.other, Head: j.from.Head}
	if s.meter.told || s.meter.usage.GetCompletionTokens() > 0 || j.from.Usage != nil {
		s.progress.Usage = j.total(&s.meter.usage)
	}
	if !j.begun {
		// The first engine's own answer: as Stream passes it on.
		if bare && c.has(c.usage) && !s.asked.usage {
			return nil, nil
		}
		if !s.begun {
			s.progress.Head = c.head()
		}
		return s.passed(c, bare)
	}
	switch {
	case bare && !s.asked.usage:
		return nil, nil
	case !bare && !j.text && d.role && d.empty() && !d.stopped:
		return nil, nil // the caller has the role
	}
	j.text = j.text || !bare
	return j.rewritten(s, c, bare)
}

// rewritten is a chunk of the rest with the answer's id and counts.
func (j *join) rewritten(s *stream, c *chunk, bare bool) ([]byte, error) {
	var set []jsonbody.Member
	if j.from.Head.ID != "" {
		set = append(set, jsonbody.Member{Name: "id", Value: quote(j.from.Head.ID)})
	}
	if j.from.Head.Created != 0 {
		set = append(set, jsonbody.Member{Name: "created", Value: strconv.AppendInt(nil, j.from.Head.Created, 10)})
	}
	if c.has(c.usage) && s.wantsUsage(bare) {
		set = append(set, jsonbody.Member{Name: "usage", Value: appendUsage(nil, j.total(&s.meter.usage))})
	}
	out, err := jsonbody.Set(c.data, func(name []byte) bool {
		switch string(name) {
		case "id":
			return j.from.Head.ID != ""
		case "created":
			return j.from.Head.Created != 0
		case "usage", "timings": // of the rest alone
			return true
		}
		return false
	}, set...)
	if err != nil {
		return nil, brokenStream(err, true)
	}
	return out, nil
}

// end ends an answer of which nothing is left to be generated: its last token
// came from the engine that was lost, and the reason to stop did not.
func (j *join) end(s *stream) (*commonv1.TokenUsage, error) {
	if err := s.sink.Accepted(); err != nil {
		return nil, err
	}
	usage := j.total(&commonv1.TokenUsage{})
	last, object := `{"index":0,"delta":{},"finish_reason":"length"}`, "chat.completion.chunk"
	if j.op == Completion {
		last, object = `{"index":0,"text":"","finish_reason":"length"}`, "text_completion"
	}
	s.progress = Progress{Usage: usage, Stopped: true, Head: j.from.Head}
	s.sink.Progress(&s.progress)
	if err := s.sink.Chunk(append(j.head(object), `,"choices":[`+last+`]}`...)); err != nil {
		return usage, err
	}
	if s.asked.usage {
		s.sink.Progress(&s.progress)
		b := append(j.head(object), `,"choices":[],"usage":`...)
		if err := s.sink.Chunk(append(appendUsage(b, usage), '}')); err != nil {
			return usage, err
		}
	}
	return usage, nil
}

func (j *join) head(object string) []byte {
	b := append([]byte(`{"id":`), quote(j.from.Head.ID)...)
	b = append(append(b, `,"object":"`...), object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, j.from.Head.Created, 10)
	return append(append(b, `,"model":`...), j.model...)
}

// maxID bounds the id that an engine gives its answer.
const maxID = 256

// head is what all chunks of the answer have in common.
func (c *chunk) head() (h Head) {
	if id, ok := readString(c.id.Of(c.data)); ok && len(id) <= maxID {
		h.ID = id
	}
	if c.created.Found() {
		h.Created = int64(readCount(c.created.Of(c.data)))
	}
	return h
}

// appendUsage writes tokens in OpenAI's shape.
func appendUsage(b []byte, u *commonv1.TokenUsage) []byte {
	member := func(name string, n int32) {
		b = append(append(b, name...), ':')
		b = strconv.AppendInt(b, int64(n), 10)
	}
	member(`{"prompt_tokens"`, u.GetPromptTokens())
	member(`,"completion_tokens"`, u.GetCompletionTokens())
	member(`,"total_tokens"`, add(u.GetPromptTokens(), u.GetCompletionTokens()))
	member(`,"prompt_tokens_details":{"cached_tokens"`, u.GetCachedPromptTokens())
	if n := u.GetAudioPromptTokens(); n > 0 {
		member(`,"audio_tokens"`, n)
	}
	b = append(b, '}')
	if u.GetReasoningTokens() > 0 || u.GetAudioCompletionTokens() > 0 {
		member(`,"completion_tokens_details":{"reasoning_tokens"`, u.GetReasoningTokens())
		member(`,"audio_tokens"`, u.GetAudioCompletionTokens())
		b = append(b, '}')
	}
	return append(b, '}')
}

func errNotContinuable() error {
	return apierr.New(apierr.FailedPrecondition, "the answer to this request cannot be continued here")
}
