// Package schedule decides when a request runs and on which copy of its version.
// A request that finds room runs at once; otherwise it waits here, where turns
// are given fairly (package fair), and not in an engine, where they are not. A
// request that would wait too long is refused at once with the time after which
// another try is worth while. Which copy it gets is a Strategy's decision. The
// package does not run requests and tries nothing twice: that is package
// routing. Start reading at Scheduler.Place.
package schedule

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
)

// Views are what is known of the workers.
type Views interface {
	// Watch returns the present view and a channel that is closed once there is
	// another.
	Watch() (*fleet.View, <-chan struct{})
}

// Options is what a Scheduler needs.
type Options struct {
	Views    Views
	Clock    clock.Clock
	Strategy Strategy
	// Overcommit is how many requests beyond its slots a copy is given, as a
	// share of the slots, but at least one: an engine that has the next request
	// at hand does not idle between two.
	Overcommit float64
	// MaxWait is how long a request of each class may wait.
	MaxWait [3]time.Duration
	// MaxQueued and MaxQueuedBytes bound what waits for one version.
	MaxQueued, MaxQueuedBytes int
	// BatchShare is the share of a copy's slots that batch requests may fill
	// while others were seen within BatchGrace.
	BatchShare float64
	BatchGrace time.Duration
	// InputWeight and OutputWeight are what a token of the prompt and of the
	// answer costs a tenant in fairness.
	InputWeight, OutputWeight float64
	// Weight is a tenant's share relative to others'; nil is 1 for all.
	Weight func(tenant string) float64
	// Waited, when set, is told how long each request waited for its turn.
	Waited func(ctx context.Context, req *Request, d time.Duration)
	// Refused, when set, is told why requests were refused.
	Refused func(ctx context.Context, req *Request, why Refusal)
}

// Request is what is known of a request when it arrives.
type Request struct {
	// Digest is the version's and Name its name for people.
	Digest, Name string
	// Variants are the digests of the version's forms that may serve the request,
	// best first; empty is Digest alone, for a version that has no others. Of those
	// that are ready the best does, unless Fallback lets the next one do while it
	// has no room.
	Variants []string
	Fallback bool
	// Key decides between copies that are equally good.
	Key string
	// Tenant and Class decide whose turn it is.
	Tenant string
	Class  fair.Class
	// Session names the conversation that the request belongs to, if it says.
	Session string
	// Prompt is what the engine reads, empty when it could not be found.
	Prompt prefix.Prompt
	// Bytes is the size of the body.
	Bytes int
	// Light says that the request takes no slot of the engine: it waits for
	// nobody, costs nothing, and says nothing of how long requests take.
	Light bool
	// Spare says that the request gets only a place that nobody wants: it waits for
	// none, and is refused at once. Yield, which must not block, is called when
	// another request has to wait while it runs.
	Spare bool
	Yield func()
}

// Scheduler places requests. It is safe for concurrent use.
type Scheduler struct {
	opts Options

	mu    sync.Mutex
	lanes map[string]*lane
	swept time.Time

	queued [3]atomic.Int64
}

// New returns a scheduler.
func New(opts Options) *Scheduler {
	return &Scheduler{opts: opts, lanes: make(map[string]*lane)}
}

// Place returns the copy that the request runs on once it is its turn; the grant
// must be ended. It returns nil when no copy of the version is ready, at once or
// after a while. tried are copies that the request must not get again; such a
// request waits for nobody. The error is one of the taxonomy, or ctx's own.
func (s *Scheduler) Place(ctx context.Context, req *Request, tried []*fleet.Copy) (*Grant, error) {
	return s.lane(req.Digest).place(ctx, req, tried)
}

// Queued returns how many requests of a class wait.
func (s *Scheduler) Queued(c fair.Class) int64 { return s.queued[c].Load() }

// laneIdle is how long a lane that nobody used is remembered.
const laneIdle = 10 * time.Minute

func (s *Scheduler) lane(digest string) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Clock.Now()
	if now.Sub(s.swept) > laneIdle {
		s.swept = now
		for d, l := range s.lanes {
			if l.idleSince(now) > laneIdle {
				delete(s.lanes, d)
			}
		}
	}
	l := s.lanes[digest]
	if l == nil {
		l = newLane(s)
		s.lanes[digest] = l
	}
	return l
}
