package openai

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/metadata"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// told is what callers are told of what answers, as of late: it is the same for each
// answer of a version, and made once for many. It is safe for concurrent use.
type told [16]atomic.Pointer[telling]

// telling is what is told, which is not changed.
type telling struct {
	of    answerer
	names names
	md    metadata.MD
}

// answerer is all of what answers that callers are told.
type answerer struct {
	model, experiment, arm, variant, prompt string
	version, promptVersion                  int32
	reason                                  inferencev1.VariantReason
}

// by returns what is told of what answers, where the cache had nothing to do with it.
func (t *told) by(by *inferencev1.ServedBy) *telling {
	of := answerer{
		model: by.GetModel(), experiment: by.GetExperiment(), arm: by.GetArm(), variant: by.GetVariant(), prompt: by.GetPrompt(),
		version: by.GetVersion(), promptVersion: by.GetPromptVersion(), reason: by.GetVariantReason(),
	}
	place := &t[uint(len(of.model)*7+len(of.arm)*3+int(of.version))%uint(len(t))]
	if had := place.Load(); had != nil && had.of == of {
		return had
	}
	names := namesOf(by)
	made := &telling{of: of, names: names, md: naming(names, by, metadata.MD{HeaderCache: {cacheBypass}})}
	place.Store(made)
	return made
}

// served is Served with a setHeader that changes nothing of what it is given.
func (s *Server) served(ctx context.Context, setHeader func(metadata.MD) error, by *inferencev1.ServedBy) error {
	t := s.told.by(by)
	explainServing(ctx, t.names, by, t.md)
	return say(ctx, setHeader, t.names, by, t.md)
}
