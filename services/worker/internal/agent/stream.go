package agent

import (
	"context"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/callwire"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// InvokeStream runs a request and passes its answer on as it comes. A reader
// that is slow slows the engine's connection down; nothing is stored here.
func (a *Agent) InvokeStream(req *workerv1.InvokeRequest, stream grpc.ServerStreamingServer[workerv1.InvokeStreamResponse]) (err error) {
	op, label, err := operationOf(req.GetOperation())
	if err != nil {
		return err
	}
	w, err := a.begin(req.GetDigest(), label, req.GetReplica())
	if err != nil {
		return err
	}
	var usage *commonv1.TokenUsage
	defer func() { err = w.end(stream.Context(), without(usage, req.GetContinuation().GetUsage()), err) }()
	usage, err = w.stream(stream.Context(), op, req, stream)
	if err != nil {
		return err
	}
	callwire.More(stream.Context()) // the status
	return stream.Send(&workerv1.InvokeStreamResponse{
		Event: &workerv1.InvokeStreamResponse_Finish{Finish: &workerv1.Finish{Usage: usage}}, Usage: usage,
	})
}

// stream has the engine answer, in the way that lets another one go on where
// the version and the request allow it.
func (w *work) stream(ctx context.Context, op engine.Operation, req *workerv1.InvokeRequest,
	to grpc.ServerStreamingServer[workerv1.InvokeStreamResponse],
) (*commonv1.TokenUsage, error) {
	s := &sink{stream: to, work: w, batch: req.GetBatchChunks()}
	s.out.Event = &s.chunk
	c, able := w.engine.(engine.Continuer)
	able = able && w.model.spec.GetContinuation() && c.Continuable(op, req.GetBody())
	from := req.GetContinuation()
	switch {
	case !able && from != nil:
		return nil, apierr.New(apierr.FailedPrecondition, "the answer to this request cannot be continued on this worker").
			WithField("continuation")
	case !able:
		usage, err := w.engine.Stream(ctx, op, req.GetBody(), s)
		if left := s.Idle(); err == nil {
			err = left // what came before a failure is told all the same
		}
		return usage, err
	}
	s.continuable = true
	return c.Continue(ctx, op, req.GetBody(), from != nil, engine.Continuation{
		Text: from.GetText(), Usage: from.GetUsage(),
		Head: engine.Head{ID: from.GetHead().GetId(), Created: from.GetHead().GetCreated()},
	}, s)
}

// without is what this worker did of an answer that another one had begun, so
// that the sum over the workers is that of the answer.
func without(total, beginning *commonv1.TokenUsage) *commonv1.TokenUsage {
	if beginning == nil || total == nil {
		return total
	}
	return &commonv1.TokenUsage{
		PromptTokens:       max(total.GetPromptTokens()-beginning.GetPromptTokens(), 0),
		CompletionTokens:   max(total.GetCompletionTokens()-beginning.GetCompletionTokens(), 0),
		CachedPromptTokens: max(total.GetCachedPromptTokens()-beginning.GetCachedPromptTokens(), 0),

		ReasoningTokens:       max(total.GetReasoningTokens()-beginning.GetReasoningTokens(), 0),
		AudioPromptTokens:     max(total.GetAudioPromptTokens()-beginning.GetAudioPromptTokens(), 0),
		AudioCompletionTokens: max(total.GetAudioCompletionTokens()-beginning.GetAudioCompletionTokens(), 0),
	}
}

// sink passes an engine's chunks to the caller, with what is known beside each.
type sink struct {
	stream      grpc.ServerStreamingServer[workerv1.InvokeStreamResponse]
	work        *work
	continuable bool
	begun       bool
	// batch: chunks that have arrived already leave together.
	batch bool
	held  int                  // chunks in out
	usage *commonv1.TokenUsage // the engine's, which goes on counting
	// accepted: the engine has taken the request, of which the caller is told with the
	// first chunk.
	accepted bool
	// What every chunk is sent in; Send does not keep it.
	chunk workerv1.InvokeStreamResponse_Chunk
	out   workerv1.InvokeStreamResponse
}

func (s *sink) Accepted() error {
	if s.batch && !s.accepted {
		s.accepted = true
		return nil
	}
	return s.stream.Send(&workerv1.InvokeStreamResponse{
		Event: &workerv1.InvokeStreamResponse_Accepted{Accepted: &workerv1.Accepted{Continuable: s.continuable}},
	})
}

func (s *sink) Progress(p *engine.Progress) {
	s.usage = p.Usage
	if !s.continuable {
		return
	}
	s.out.Text, s.out.Stopped, s.out.NotContinuable, s.out.Head = p.Text, p.Stopped, p.Other, nil
	if !s.begun {
		s.out.Head = &workerv1.ChunkHead{Id: p.Head.ID, Created: p.Head.Created}
	}
}

func (s *sink) Chunk(data []byte) error {
	if !s.begun {
		s.begun = true
		w := s.work
		w.model.series.firstChunk(s.stream.Context(), w.agent.parts.Clock.Now().Sub(w.begun))
		if s.accepted {
			callwire.More(s.stream.Context()) // the chunk
			if err := s.Accepted(); err != nil {
				return err
			}
		}
	}
	switch {
	case !s.batch || s.continuable:
		s.chunk.Chunk = data
		return s.send()
	case s.held == 0:
		s.chunk.Chunk, s.out.MoreChunks = data, s.out.GetMoreChunks()[:0]
	default:
		s.out.MoreChunks = append(s.out.GetMoreChunks(), data)
	}
	if s.held++; s.held >= maxBatch {
		return s.Idle()
	}
	return nil
}

// maxBatch is the most chunks that leave together.
const maxBatch = 128

// Idle sends the chunks that are held.
func (s *sink) Idle() error {
	if s.held == 0 {
		return nil
	}
	s.held = 0
	return s.send()
}

// send sends what is in out with the counts as they are now: who takes it may keep them.
func (s *sink) send() error {
	s.out.Usage = nil
	if u := s.usage; u != nil {
		s.out.Usage = &commonv1.TokenUsage{
			PromptTokens: u.GetPromptTokens(), CompletionTokens: u.GetCompletionTokens(), CachedPromptTokens: u.GetCachedPromptTokens(),
			ReasoningTokens: u.GetReasoningTokens(), AudioPromptTokens: u.GetAudioPromptTokens(),
			AudioCompletionTokens: u.GetAudioCompletionTokens(), Estimated: u.GetEstimated(),
		}
	}
	return s.stream.Send(&s.out)
}
