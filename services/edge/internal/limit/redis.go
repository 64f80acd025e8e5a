package limit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"
)

//go:embed take.lua
var takeScript string

//go:embed settle.lua
var settleScript string

//go:embed edges.lua
var edgesScript string

// redisPrefix begins every key, so that one Redis may serve other things too. The
// braces put all of them into one slot: a script works on several at once.
const redisPrefix = "poterne:{limit}:"

// Scripts runs Lua scripts in Redis (package redisscript).
type Scripts interface {
	// Run runs a script on keys and returns the whole numbers of its answer.
	Run(ctx context.Context, source string, keys []string, args ...any) ([]int64, error)
	Close() error
}

// shared is the buckets in Redis. One script decides and takes, by Redis's own
// clock, so neither races nor clocks that differ admit too much.
type shared struct{ scripts Scripts }

// grant is what Redis says about one bucket.
type grant struct {
	had          bool
	leased, left int
	reset, retry time.Duration
}

// want is an ask of Redis: what is needed, and how much more as a lease.
type want struct {
	bucket      string
	limit       Limit
	need, lease int
}

// micros is an interval with a fraction: Lua's numbers hold these to a few
// nanoseconds.
func micros(l Limit) float64 { return float64(l.interval()) / float64(time.Microsecond) }

func (s shared) take(ctx context.Context, wants []want, out []grant) error {
	keys, args := make([]string, len(wants)), make([]any, 0, 4*len(wants))
	for i, w := range wants {
		keys[i] = redisPrefix + w.bucket
		args = append(args, micros(w.limit), w.limit.AtOnce(), w.need, w.lease)
	}
	answer, err := s.scripts.Run(ctx, takeScript, keys, args...)
	if err != nil {
		return fmt.Errorf("limit: ask Redis: %w", err)
	}
	const each = 5
	if len(answer) != each*len(wants) {
		return errors.New("limit: Redis answered something else than decisions")
	}
	for i := range wants {
		a := answer[each*i:]
		out[i] = grant{
			had: a[0] == 1, leased: int(a[1]), left: int(a[2]),
			reset: time.Duration(a[3]) * time.Microsecond, retry: time.Duration(a[4]) * time.Microsecond,
		}
	}
	return nil
}

// settle tells Redis what a replica settles, as its settlement number n, which is made
// once however often it is told. It returns how long until each bucket is full.
func (s shared) settle(ctx context.Context, name string, n uint64, now time.Time, what []settlement) ([]time.Duration, error) {
	keys, args := make([]string, 1, 1+len(what)), make([]any, 1, 1+5*len(what)) // commonly
	keys[0], args[0] = redisPrefix+"settled:"+name, n
	for _, w := range what {
		keys = append(keys, redisPrefix+w.bucket)
		args = append(args, micros(w.limit), w.limit.AtOnce(), 1+len(w.earlier))
		for _, t := range w.earlier {
			args = append(args, t.cost, max(now.Sub(t.begun), 0).Microseconds())
		}
		args = append(args, w.cost, int64(0))
	}
	answer, err := s.scripts.Run(ctx, settleScript, keys, args...)
	if err != nil {
		return nil, fmt.Errorf("limit: tell Redis: %w", err)
	}
	if len(answer) != len(what) {
		return nil, errors.New("limit: Redis answered something else than times")
	}
	out := make([]time.Duration, len(answer))
	for i, a := range answer {
		out[i] = time.Duration(a) * time.Microsecond
	}
	return out, nil
}

// edges notes that a replica is alive for a time, and returns how many are.
func (s shared) edges(ctx context.Context, name string, alive time.Duration) (int, error) {
	answer, err := s.scripts.Run(ctx, edgesScript, []string{redisPrefix + "edges"}, name, alive.Microseconds())
	if err != nil {
		return 0, fmt.Errorf("limit: ask Redis: %w", err)
	}
	if len(answer) != 1 || answer[0] < 1 {
		return 0, errors.New("limit: Redis answered something else than a number of replicas")
	}
	return int(answer[0]), nil
}
