package oidc

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/pkg/telemetry"
)

const (
	// firstPause is how long an issuer is left in peace after it was asked, or could
	// not be; each failure doubles the time up to longestPause. Tokens that name
	// unknown keys cannot make it shorter.
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute
	// waitForKeys is how long a request waits for keys that are being read.
	waitForKeys = 3 * time.Second
)

// errAway says that an issuer's keys are not known and cannot be read now.
var errAway = errors.New("the issuer's keys cannot be read")

// source reads an issuer's keys.
type source interface {
	fetch(ctx context.Context) (jose.KeySet, error)
}

// keys knows the keys of one issuer. They are read when they are first needed,
// when a token names one that is not known, and when they are old; never twice at
// once. While the issuer cannot be reached the known ones hold, for a time. It is
// safe for concurrent use.
type keys struct {
	from     source
	clock    clock.Clock
	log      *slog.Logger
	issuer   string
	refresh  time.Duration
	keep     time.Duration
	spawn    func(func())    // runs in the background
	lifetime context.Context //nolint:containedctx // of the readings, which outlive requests

	mu      sync.Mutex
	set     jose.KeySet
	version uint64        // of set; 0: none was ever read
	read    time.Time     // when set was read
	next    time.Time     // before which the issuer is not asked again
	failed  int           // times in a row
	reading chan struct{} // closed when the reading under way ends; nil: none is
}

// known is the keys of a moment.
type known struct {
	set     jose.KeySet
	version uint64
}

// find returns the keys to verify a token by that names key id; empty: none. They
// are read anew first if that key is not known, or none.
func (k *keys) find(ctx context.Context, id string) (known, error) {
	k.mu.Lock()
	now := k.clock.Now()
	usable := k.version > 0 && now.Before(k.read.Add(k.keep))
	has := usable && (id == "" || k.set.Has(id))
	old := !now.Before(k.read.Add(k.refresh))
	if has && !old {
		defer k.mu.Unlock()
		return known{k.set, k.version}, nil
	}
	done := k.start(now)
	if has || done == nil {
		defer k.mu.Unlock()
		if usable {
			return known{k.set, k.version}, nil // without the key: nobody has signed it
		}
		return known{}, errAway
	}
	k.mu.Unlock()
	timer := k.clock.NewTimer(waitForKeys)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C():
	case <-ctx.Done():
		return known{}, context.Cause(ctx)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.version == 0 || !k.clock.Now().Before(k.read.Add(k.keep)) {
		return known{}, errAway
	}
	return known{k.set, k.version}, nil
}

// start starts a reading, or joins the one under way; nil: it is too early. k.mu
// is held.
func (k *keys) start(now time.Time) chan struct{} {
	if k.reading != nil {
		return k.reading
	}
	if now.Before(k.next) {
		return nil
	}
	done := make(chan struct{})
	k.reading = done
	k.spawn(func() {
		defer close(done)
		set, err := k.from.fetch(k.lifetime)
		k.ended(set, err)
	})
	return done
}

func (k *keys) ended(set jose.KeySet, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reading = nil
	now := k.clock.Now()
	if err != nil {
		pause := min(firstPause<<min(k.failed, 10), longestPause)
		k.failed++
		k.next = now.Add(pause)
		k.log.WarnContext(k.lifetime, "an issuer's keys cannot be read", slog.String("issuer", k.issuer),
			slog.Bool("known", k.version > 0), telemetry.Err(err))
		return
	}
	k.failed = 0
	k.set, k.read, k.next = set, now, now.Add(firstPause)
	k.version++
}

// holds reports whether the keys of that version are still the issuer's.
func (k *keys) holds(version uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version == version
}
