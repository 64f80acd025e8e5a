package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// maxQuarantined bounds the versions in quarantine.
const maxQuarantined = 256

// quarantine is the versions whose engines failed again and again. They take no
// memory and are not loaded for a while; the worker serves the others. It is
// safe for concurrent use.
type quarantine struct {
	least, most time.Duration

	mu      sync.Mutex
	entries map[string]*sentence // by digest
}

// sentence is one version's. It is kept for as long again after its end, so
// that a version that fails again then stays away for longer.
type sentence struct {
	shown *workerv1.LoadedModel
	until time.Time
	span  time.Duration
}

func newQuarantine(least, most time.Duration) *quarantine {
	return &quarantine{least: least, most: most, entries: make(map[string]*sentence)}
}

// add begins a sentence, twice as long as the last one if there was one of late.
func (q *quarantine) add(m *workerv1.LoadedModel, now time.Time) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(now)
	span := q.least
	if old := q.entries[m.GetDigest()]; old != nil {
		span = min(old.span*2, max(q.most, q.least))
	}
	s := &sentence{shown: m, until: now.Add(span), span: span}
	m.QuarantineEndTime = timestamppb.New(s.until)
	if len(q.entries) >= maxQuarantined {
		q.forgetEarliest()
	}
	q.entries[m.GetDigest()] = s
	return s.until
}

// forget drops what is over for good.
func (q *quarantine) forget(now time.Time) {
	for digest, s := range q.entries {
		if now.Sub(s.until) >= s.span {
			delete(q.entries, digest)
		}
	}
}

func (q *quarantine) forgetEarliest() {
	earliest := ""
	for digest, s := range q.entries {
		if e := q.entries[earliest]; e == nil || s.until.Before(e.until) {
			earliest = digest
		}
	}
	delete(q.entries, earliest)
}

// lift ends a sentence, and reports whether there was one.
func (q *quarantine) lift(digest string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.entries[digest]
	delete(q.entries, digest)
	return ok
}

// refusal is the error of a load in quarantine, or nil.
func (q *quarantine) refusal(digest string, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.entries[digest]
	if s == nil || !now.Before(s.until) {
		return nil
	}
	return apierr.New(apierr.FailedPrecondition, "the version failed again and again on this worker and is not started before %s: %s",
		s.until.UTC().Format(time.RFC3339), s.shown.GetError()).
		WithRetryAfter(s.until.Sub(now)).WithMetadata("quarantined_until", s.until.UTC().Format(time.RFC3339))
}

// list returns what is in quarantine, by digest; read only.
func (q *quarantine) list(now time.Time) []*workerv1.LoadedModel {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*workerv1.LoadedModel
	for _, s := range q.entries {
		if now.Before(s.until) {
			out = append(out, s.shown)
		}
	}
	slices.SortFunc(out, func(x, y *workerv1.LoadedModel) int { return strings.Compare(x.GetDigest(), y.GetDigest()) })
	return out
}

// isolate puts a version whose engine does not stay up into quarantine.
func (a *Agent) isolate(ctx context.Context, m *model, reason error) {
	shown := &workerv1.LoadedModel{
		Digest: m.digest, Name: m.name, Engine: m.spec.GetEngine(), Task: m.spec.GetTask(),
		State: workerv1.ModelState_MODEL_STATE_QUARANTINED, Error: reason.Error(), Restarts: m.snapshot("").GetRestarts(),
	}
	until := a.quarantine.add(shown, a.parts.Clock.Now())
	a.metrics.quarantines.Add(ctx, 1)
	a.log.ErrorContext(ctx, "version quarantined on this worker", slog.String(keyModel, m.name), slog.String(keyDigest, m.digest),
		slog.Time("until", until), slog.Any("error", reason))
}
