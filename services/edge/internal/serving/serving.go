// Package serving remembers for a moment what the inference service said would answer a
// request, so that the response cache need not ask for each. It decides nothing: only
// inference does, and it says for which requests what it decided holds. What is
// remembered counts while the registry, whose state decides, is followed and has said
// that nothing changed, and for a short time at most. Start reading at
// Memory.Resolve; docs/adr/0084 has the reasons.
package serving

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// Inference says what would answer.
type Inference interface {
	ResolveServing(ctx context.Context, in *inferencev1.ResolveServingRequest, opts ...grpc.CallOption) (*inferencev1.ResolveServingResponse, error)
}

// Registry says which state of the registry is known here.
type Registry interface {
	// Present returns the registry's revision as far as it was told, and a number that
	// is another one after anything changed and each time that the registry was lost; 0
	// while it is not followed.
	Present() (change, revision int64)
}

// The reasons for which inference is asked.
const (
	AskedAway    = "away"    // the registry is not followed now
	AskedWritten = "written" // somebody has just changed the registry through this edge
	AskedNew     = "new"     // nothing is remembered
	AskedChanged = "changed" // the registry changed since
	AskedOld     = "old"     // it was asked too long ago
)

// maxAnswers bounds what is remembered, at some 600 bytes each: what was used last.
const maxAnswers = 16_384

// Options are what a Memory works with; Metrics may be nil.
type Options struct {
	Registry Registry
	Clock    clock.Clock
	// For is how long an answer counts, from when it was asked for; above 0.
	For     time.Duration
	Metrics *metrics.Resolutions
}

// Memory remembers what would answer. It is safe for concurrent use, and a nil one
// remembers nothing.
type Memory struct {
	o       Options
	answers *lru.Cache[key, answer]
	written atomic.Pointer[time.Time] // when the registry was last changed through this edge
}

// answer is what inference said. It is not changed once made.
type answer struct {
	said   *inferencev1.ResolveServingResponse
	change int64 // of the registry, that was known before it was asked
	asked  time.Time
}

// New returns a memory that remembers nothing yet.
func New(o Options) (*Memory, error) {
	answers, err := lru.New[key, answer](maxAnswers)
	if err != nil {
		return nil, fmt.Errorf("serving: %w", err)
	}
	return &Memory{o: o, answers: answers}, nil
}

// Written notes that somebody changed the registry through this edge, or may have: for
// as long as answers are remembered, inference is asked. So whoever changed what serves
// is answered as inference has it, and by nothing from before.
func (m *Memory) Written() {
	now := m.o.Clock.Now()
	m.written.Store(&now)
}

// Resolve returns what would answer the request of ctx, and whether that was remembered.
// The answer is read only.
func (m *Memory) Resolve(ctx context.Context, from Inference, req *inferencev1.ResolveServingRequest) (_ *inferencev1.ResolveServingResponse, remembered bool, _ error) {
	if m == nil {
		said, err := from.ResolveServing(ctx, req)
		return said, false, err
	}
	caller, known := identity.FromContext(ctx)
	now := m.o.Clock.Now()
	change, revision := m.o.Registry.Present()
	said, reason := m.find(&caller, known, req, change, now)
	if said != nil {
		m.o.Metrics.Remembered(ctx)
		return said, true, nil
	}
	m.o.Metrics.Asked(ctx, reason)
	said, err := from.ResolveServing(ctx, req)
	// What is older than what this edge knew before it asked is not remembered: what
	// changed since will not be told again.
	if err == nil && change != 0 && said.GetRevision() >= revision {
		m.keep(&caller, known, req, answer{said: said, change: change, asked: now})
	}
	return said, false, err
}

// find returns what is remembered, or why inference is to be asked.
func (m *Memory) find(caller *identity.Caller, known bool, req *inferencev1.ResolveServingRequest, change int64, now time.Time) (_ *inferencev1.ResolveServingResponse, reason string) {
	switch w := m.written.Load(); {
	case change == 0:
		return nil, AskedAway
	case w != nil && now.Sub(*w) <= m.o.For:
		return nil, AskedWritten
	}
	a, ok := m.answers.Get(ofModel(caller, known, req))
	if !ok {
		if a, ok = m.answers.Get(ofSubject(caller, known, req)); !ok {
			return nil, AskedNew
		}
	}
	switch {
	case a.change != change:
		return nil, AskedChanged
	case now.Sub(a.asked) >= m.o.For:
		return nil, AskedOld
	}
	return a.said, ""
}

// keep remembers an answer for the requests that inference says it is for.
func (m *Memory) keep(caller *identity.Caller, known bool, req *inferencev1.ResolveServingRequest, a answer) {
	switch a.said.GetBasis() {
	case inferencev1.ServingBasis_SERVING_BASIS_MODEL:
		m.answers.Add(ofModel(caller, known, req), a)
	case inferencev1.ServingBasis_SERVING_BASIS_SUBJECT:
		m.answers.Add(ofSubject(caller, known, req), a)
	case inferencev1.ServingBasis_SERVING_BASIS_REQUEST, inferencev1.ServingBasis_SERVING_BASIS_UNSPECIFIED:
	}
}
