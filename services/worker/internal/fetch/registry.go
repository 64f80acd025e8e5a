package fetch

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Artifacts is what is asked of the registry.
type Artifacts interface {
	ReadArtifact(ctx context.Context, in *registryv1.ReadArtifactRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[registryv1.ReadArtifactResponse], error)
}

// WithRegistry reads the registry's artifacts from a. A transfer that brings
// nothing for idle is given up.
func WithRegistry(a Artifacts, idle time.Duration, c clock.Clock) Option {
	return func(f *Fetchers) { f.byScheme[SchemeRegistry] = &registryFetcher{artifacts: a, idle: idle, clock: c} }
}

// noRegistry is for workers that know none.
type noRegistry struct{}

func (noRegistry) Open(context.Context, Request) (*Content, error) {
	return nil, permanent(nil, "this worker knows no registry")
}

// registryFetcher reads from the registry's store of artifacts.
type registryFetcher struct {
	artifacts Artifacts
	idle      time.Duration
	clock     clock.Clock
}

func (f *registryFetcher) Open(ctx context.Context, r Request) (*Content, error) {
	if r.Ref.Path != r.SHA256 {
		return nil, permanent(nil, "the artifact's URI names another SHA-256 than its version")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := f.clock.NewTimer(f.idle)
	b := &messages{timer: timer, idle: f.idle, cancel: cancel, ctx: ctx, done: make(chan struct{})}
	go b.watch()
	stream, err := f.artifacts.ReadArtifact(ctx, &registryv1.ReadArtifactRequest{Sha256: r.Ref.Path, Offset: r.Offset})
	var first *registryv1.ReadArtifactResponse
	if err == nil {
		first, err = stream.Recv()
	}
	timer.Stop()
	if err != nil {
		err = b.failure(err)
		_ = b.Close()
		return nil, err
	}
	b.stream, b.data = stream, first.GetData()
	// What is named by its content never changes.
	return &Content{Body: b, Offset: r.Offset, Size: first.GetSizeBytes(), Validator: r.Ref.Path}, nil
}

// messages is a stream of messages as a body, which must keep bringing something.
type messages struct {
	stream grpc.ServerStreamingClient[registryv1.ReadArtifactResponse]
	data   []byte
	timer  clock.Timer
	idle   time.Duration
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // the life of one transfer
	done   chan struct{}
}

func (m *messages) watch() {
	select {
	case <-m.timer.C():
		m.cancel(temporary(nil, "nothing came for %v", m.idle))
	case <-m.done:
	}
}

func (m *messages) Read(p []byte) (int, error) {
	for len(m.data) == 0 {
		m.timer.Reset(m.idle)
		resp, err := m.stream.Recv()
		m.timer.Stop()
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, m.failure(err)
		}
		m.data = resp.GetData()
	}
	n := copy(p, m.data)
	m.data = m.data[n:]
	return n, nil
}

// failure says what may follow what the registry answered.
func (m *messages) failure(err error) error {
	if cause := context.Cause(m.ctx); cause != nil {
		return cause
	}
	e := apierr.From(err)
	switch e.Reason {
	case apierr.NotFound:
		return permanent(nil, "the registry has no such artifact")
	case apierr.OutOfRange:
		return restart("the artifact has no such byte")
	case apierr.InvalidArgument, apierr.Unauthenticated, apierr.PermissionDenied, apierr.Unimplemented:
		return permanent(err, "the registry refuses")
	default:
		out := temporary(err, "the registry does not answer")
		out.RetryAfter = min(e.RetryAfter, maxRetryAfter)
		return out
	}
}

func (m *messages) Close() error {
	m.timer.Stop()
	close(m.done)
	m.cancel(nil)
	return nil
}
