// Package feed lets any number of watchers follow the registry's changes. One
// goroutine follows the store and wakes all watchers; each watcher keeps its
// own position and reads from the store what it has not seen, so a slow one
// holds no more memory than one batch. Start reading at Feed, and at watch.go
// for what a watcher is sent.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/registry/internal/metrics"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// lookTimeout bounds one look at the store: one that hangs has gone away.
const lookTimeout = 5 * time.Second

// Source is what a feed needs of the store.
type Source interface {
	Position(ctx context.Context) (store.Position, error)
	Changes(ctx context.Context, from store.Position) (*store.Batch, error)
	Page(ctx context.Context, after string) (*store.Page, error)
	PromptPage(ctx context.Context, after string) (*store.PromptPage, error)
}

// Options tune a Feed. Zero values take the defaults.
type Options struct {
	Clock clock.Clock
	// Logger is told when the store goes away and comes back; nil discards.
	Logger *slog.Logger
	// Poll is the time between two looks at the store when nothing wakes the
	// feed; 1 s by default.
	Poll time.Duration
	// Heartbeat is the time after which a silent watch says that it is alive;
	// 2 s by default.
	Heartbeat time.Duration
	// Listen calls wake when another process has committed, until it fails or
	// ctx ends; nil leaves that to the poll.
	Listen func(ctx context.Context, wake func()) error
	// Report is told after every look at the store whether it answered.
	Report func(error)
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 2 * time.Second
	}
	if o.Report == nil {
		o.Report = func(error) {}
	}
	return o
}

// Feed follows one store. It is safe for concurrent use.
type Feed struct {
	source Source
	opts   Options
	nudged chan struct{} // holds one: several wake-ups are one

	mu    sync.Mutex
	state state
}

// state is what all watchers see; it is replaced as a whole.
type state struct {
	// at is the newest position that the feed has seen.
	at store.Position
	// batch is what led there, for the watchers that were abreast; nil when they had
	// better read for themselves.
	batch *store.Batch
	// era counts how often the store could not go on from where the feed was: it is
	// another one than before, such as a backup, or far ahead. Positions in an older
	// era mean nothing.
	era int
	// err says that the store does not answer.
	err error
	// closed says that the feed takes leave of its watchers.
	closed bool
	// changed is closed when the state is replaced by a newer one.
	changed chan struct{}
}

// New returns a feed of source. It follows once Start and Follow are called.
func New(source Source, opts Options) *Feed {
	return &Feed{
		source: source, opts: opts.withDefaults(), nudged: make(chan struct{}, 1),
		state: state{changed: make(chan struct{})},
	}
}

// Wake makes the feed look at the store at once. It never blocks.
func (f *Feed) Wake() {
	select {
	case f.nudged <- struct{}{}:
	default:
	}
}

// Start looks at the store for the first time.
func (f *Feed) Start(ctx context.Context) error {
	at, err := f.source.Position(ctx)
	f.opts.Report(err)
	if err != nil {
		return err
	}
	f.publish(func(s *state) { s.at = at })
	return nil
}

// Follow looks at the store at every wake-up and every poll, until ctx ends.
func (f *Feed) Follow(ctx context.Context) error {
	var listening sync.WaitGroup
	defer listening.Wait()
	if f.opts.Listen != nil {
		listening.Go(func() { f.listen(ctx) })
	}
	timer := f.opts.Clock.NewTimer(f.opts.Poll)
	defer timer.Stop()
	for {
		select {
		case <-f.nudged:
		case <-timer.C():
		case <-ctx.Done():
			return nil
		}
		for f.look(ctx) {
		}
		timer.Reset(f.opts.Poll)
	}
}

// listen keeps the listener going; while it is away, the poll finds changes.
func (f *Feed) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.opts.Listen(ctx, f.Wake); err != nil && ctx.Err() == nil {
			f.opts.Logger.WarnContext(ctx, "no longer told of commits elsewhere; polling", slog.Any(metrics.KeyError, err))
		}
		pause := f.opts.Poll + rand.N(f.opts.Poll/4+1) //nolint:gosec // jitter is no secret
		if clock.Sleep(ctx, f.opts.Clock, pause) != nil {
			return
		}
	}
}

// look reads what the store has after the feed's revision and publishes it. It
// reports whether there is more.
func (f *Feed) look(ctx context.Context) bool {
	now := f.present()
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	batch, err := f.source.Changes(bounded, now.at)
	if ctx.Err() != nil {
		return false
	}
	if apierr.ReasonOf(err) == apierr.OutOfRange {
		return f.catchUp(bounded, now)
	}
	f.opts.Report(err)
	if err != nil {
		f.fail(ctx, now, err)
		return false
	}
	if now.err != nil {
		f.opts.Logger.InfoContext(ctx, "the store answers again")
	}
	if batch.To != now.at || now.err != nil {
		f.publish(func(s *state) {
			s.at, s.batch, s.err = batch.To, batch, nil
		})
	}
	return batch.More
}

// catchUp deals with a store that is not where the feed left it: it is ahead by
// more than it keeps, or it is another one. Whoever was abreast begins anew.
func (f *Feed) catchUp(ctx context.Context, now state) bool {
	at, err := f.source.Position(ctx)
	f.opts.Report(err)
	if err != nil {
		f.fail(ctx, now, err)
		return false
	}
	f.opts.Logger.WarnContext(ctx, "the store's revision jumped",
		slog.Int64("from", now.at.Revision), slog.Int64("to", at.Revision))
	f.publish(func(s *state) {
		s.at, s.batch, s.err = at, nil, nil
		s.era++
	})
	return false
}

func (f *Feed) fail(ctx context.Context, now state, err error) {
	if now.err == nil {
		f.opts.Logger.ErrorContext(ctx, "the store does not answer", slog.Any(metrics.KeyError, err))
	}
	f.publish(func(s *state) { s.batch, s.err = nil, err })
}

// Revision returns the newest revision that the feed has seen.
func (f *Feed) Revision() int64 { return f.present().at.Revision }

// Close ends every watch, and those that begin later, with UNAVAILABLE: their
// clients go to another replica.
func (f *Feed) Close() { f.publish(func(s *state) { s.closed = true }) }

var errClosed = errors.New("the feed is closed")

func (f *Feed) present() state {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// publish changes the state and wakes everybody.
func (f *Feed) publish(change func(*state)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
	close(f.state.changed)
	f.state.changed = make(chan struct{})
}
