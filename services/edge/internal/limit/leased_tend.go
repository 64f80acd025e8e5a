package limit

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
)

const (
	// tendInterval is how often leases that nobody uses are looked for, and Redis
	// while it is away.
	tendInterval = 100 * time.Millisecond
	// edgeTold is how often a replica says that it is alive, and edgeAlive is for how
	// long that counts.
	edgeTold  = time.Second
	edgeAlive = 5 * time.Second
)

// Components is what keeps leases short and replicas known. Stopping it gives every
// lease back.
func (l *Leased) Components() []lifecycle.Component {
	return []lifecycle.Component{
		{Name: "limits", Run: l.tend, Stop: func(ctx context.Context) error {
			l.asking.Wait() // at most lateFor
			l.mu.Lock()
			for bucket, e := range l.entries {
				l.giveBack(bucket, e)
			}
			l.collect()
			l.mu.Unlock()
			ctx, cancel := context.WithTimeout(ctx, lookTimeout)
			defer cancel()
			_ = l.flush(ctx) // else they are lost, as by a crash
			return nil
		}},
		{Name: "limits: settlements", Run: func(ctx context.Context) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-l.wake:
				}
				if clock.Sleep(ctx, l.o.Clock, settleDelay) != nil {
					return nil //nolint:nilerr // the end was asked for
				}
				if !l.Away() {
					_ = l.flush(ctx) // what cannot be told now is told later
				}
			}
		}},
	}
}

func (l *Leased) tend(ctx context.Context) error {
	var told time.Time
	replicas := 0
	return lifecycle.Every(ctx, l.o.Clock, tendInterval, nil, func(ctx context.Context) error {
		now := l.o.Clock.Now()
		if l.Away() || now.Sub(told) >= edgeTold {
			l.probe(ctx)
			told = now
		}
		l.sweep(now)
		if n := l.Edges(); n != replicas {
			replicas = n
			l.o.Observe.Replicas(ctx, n)
		}
		return nil
	})
}

// sweep gives back leases that nobody uses, and forgets buckets.
func (l *Leased) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for bucket, e := range l.entries {
		idle := now.Sub(e.used)
		if idle >= leaseIdle {
			l.giveBack(bucket, e)
		}
		if idle >= forgetAfter && e.flight == nil {
			delete(l.entries, bucket)
		}
	}
	if !l.alone.away {
		l.collect()
	}
	if len(l.settles) > 0 || l.telling != nil {
		l.stir()
	}
}

// Settle has costs taken, or given back, within a moment.
func (l *Leased) Settle(ctx context.Context, asks []Ask) error {
	for _, a := range asks {
		if err := a.Limit.Check(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range asks {
		if l.alone.away && a.Away == AwayLocal {
			share := a
			share.Limit = a.Limit.share(l.sharers())
			_ = l.alone.buckets.Settle(ctx, []Ask{share})
			l.note(l.o.Clock.Now(), a)
			continue
		}
		l.queue(settlement{bucket: a.Bucket, limit: a.Limit, cost: a.Cost})
		l.stir()
		if e := l.entries[a.Bucket]; e != nil && a.Cost < 0 { // who was refused may be let in
			e.held = time.Time{}
		}
	}
	return nil
}
