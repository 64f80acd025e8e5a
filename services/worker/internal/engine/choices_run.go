package engine

import (
	"context"
	"strconv"
	"sync"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// fanOut asks an engine once for each answer of a request for several. It is
// for llama-server, which makes several answers of a request and tells what one
// of them took: what was used would be told, and charged, too low.
type fanOut struct {
	engine generator
	// spare is how many parts, of all requests together, may run beside the one
	// that is each request's own: what an engine can hold is planned for.
	spare chan struct{}
}

// generator is what fanOut needs of an engine.
type generator interface {
	Invoke(ctx context.Context, op Operation, body []byte) (Answer, error)
	Stream(ctx context.Context, op Operation, body []byte, sink Sink) (*commonv1.TokenUsage, error)
}

func newFanOut(e generator, spare int) *fanOut {
	return &fanOut{engine: e, spare: make(chan struct{}, spare)}
}

// Invoke puts the answers together.
func (f *fanOut) Invoke(ctx context.Context, op Operation, body []byte) (Answer, error) {
	parts, err := partsOf(op, body)
	if err != nil {
		return Answer{}, err
	}
	if parts == nil {
		return f.engine.Invoke(ctx, op, body)
	}
	answers := make([]Answer, len(parts))
	var size budget
	err = f.each(ctx, len(parts), func(ctx context.Context, i int) error {
		var err error
		if answers[i], err = f.engine.Invoke(ctx, op, parts[i].body); err != nil {
			return err
		}
		return size.take(len(answers[i].Body))
	})
	if err != nil {
		return Answer{}, err
	}
	return together(parts, answers)
}

// budget bounds what the answers hold together, as that of one is bounded.
type budget struct {
	mu   sync.Mutex
	used int
}

func (b *budget) take(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used += n; b.used > maxAnswerBytes {
		return errAnswerTooLarge(maxAnswerBytes)
	}
	return nil
}

// Stream passes the answers' chunks on as they come, and what all took together
// at the end.
func (f *fanOut) Stream(ctx context.Context, op Operation, body []byte, sink Sink) (*commonv1.TokenUsage, error) {
	parts, err := partsOf(op, body)
	if err != nil {
		return nil, err
	}
	if parts == nil {
		return f.engine.Stream(ctx, op, body, sink)
	}
	object, err := jsonbody.Read(body)
	if err != nil {
		return nil, badBody(err)
	}
	_, asked, err := streamOptions(&object, tellsAtEnd)
	if err != nil {
		return nil, err
	}
	shared := &sharedSink{sink: sink, parts: parts, usages: make([]*commonv1.TokenUsage, len(parts))}
	err = f.each(ctx, len(parts), func(ctx context.Context, i int) error {
		usage, err := f.engine.Stream(ctx, op, parts[i].body, &partSink{shared: shared, part: i})
		shared.ended(i, usage)
		return err
	})
	// Of answers that ended early what they took until then counts.
	usage := shared.total()
	if err != nil || !asked.usage {
		return usage, err
	}
	return usage, shared.last(usage)
}

// each runs n parts: in this goroutine, one after the other, and as many beside
// it as there is room for. The first failure ends all.
func (f *fanOut) each(ctx context.Context, n int, run func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	next := 0
	work := func() {
		for {
			mu.Lock()
			i := next
			next++
			mu.Unlock()
			if i >= n || ctx.Err() != nil {
				return
			}
			if err := run(ctx, i); err != nil {
				cancel(err) // only the first is kept
				return
			}
		}
	}
	var helpers sync.WaitGroup
	for range n - 1 {
		if !f.helper(&helpers, work) {
			break
		}
	}
	work()
	helpers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (f *fanOut) helper(helpers *sync.WaitGroup, work func()) bool {
	select {
	case f.spare <- struct{}{}:
		helpers.Go(func() {
			defer func() { <-f.spare }()
			work()
		})
		return true
	default:
		return false
	}
}

// sharedSink takes the chunks of several streams for one.
type sharedSink struct {
	sink  Sink
	parts []part

	mu       sync.Mutex
	usages   []*commonv1.TokenUsage // so far, by part
	accepted bool
	head     []byte // a chunk without choices and usage: what all have in common
}

// partSink is one stream's end of it.
type partSink struct {
	shared *sharedSink
	part   int
}

// Progress notes what this answer took so far.
func (p *partSink) Progress(progress *Progress) { p.shared.ended(p.part, progress.Usage) }

// ended notes what a part took, so far or as a whole; nil changes nothing.
func (s *sharedSink) ended(part int, usage *commonv1.TokenUsage) {
	if usage == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usages[part] = &commonv1.TokenUsage{ // the engine's own changes with every chunk
		PromptTokens: usage.GetPromptTokens(), CachedPromptTokens: usage.GetCachedPromptTokens(),
		CompletionTokens: usage.GetCompletionTokens(), Estimated: usage.GetEstimated(), ReasoningTokens: usage.GetReasoningTokens(),
		AudioPromptTokens: usage.GetAudioPromptTokens(), AudioCompletionTokens: usage.GetAudioCompletionTokens(),
	}
}

// total is what all parts took so far.
func (s *sharedSink) total() *commonv1.TokenUsage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return total(s.parts, s.usages)
}

// Accepted tells of the first stream that is accepted.
func (p *partSink) Accepted() error {
	s := p.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted {
		return nil
	}
	s.accepted = true
	return s.sink.Accepted()
}

// Chunk passes on what holds a choice; what one answer took is told at the end
// with that of the others.
func (p *partSink) Chunk(data []byte) error {
	choices, err := choicesOf(data, p.shared.parts[p.part].index)
	if err != nil {
		return err
	}
	if len(choices) == 0 {
		return nil
	}
	rest, err := jsonbody.Set(data, jsonbody.Named(memberChoices, memberUsage, memberTimings))
	if err != nil {
		return unreadable(err)
	}
	out, err := jsonbody.Set(rest, nil, jsonbody.Member{Name: memberChoices, Value: array(choices)})
	if err != nil {
		return unreadable(err)
	}
	s := p.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		s.head = rest
	}
	s.sink.Progress(&Progress{Usage: total(s.parts, s.usages)})
	return s.sink.Chunk(out)
}

// Idle passes on what of any of the answers has come.
func (p *partSink) Idle() error {
	p.shared.mu.Lock()
	defer p.shared.mu.Unlock()
	return p.shared.sink.Idle()
}

// last sends the chunk that tells what was used.
func (s *sharedSink) last(usage *commonv1.TokenUsage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		s.head = []byte("{}")
	}
	out, err := jsonbody.Set(s.head, nil, jsonbody.Member{Name: memberChoices, Value: []byte("[]")},
		jsonbody.Member{Name: memberUsage, Value: usageText(usage)})
	if err != nil {
		return unreadable(err)
	}
	s.sink.Progress(&Progress{Usage: usage})
	return s.sink.Chunk(out)
}

// usageText writes OpenAI's usage object.
func usageText(u *commonv1.TokenUsage) []byte {
	return appendUsage(nil, u)
}

func number64(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
