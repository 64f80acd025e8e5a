package limit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"
)

//go:embed gcra.lua
var gcraScript string

// redisPrefix begins every key, so that one Redis may serve other things too.
const redisPrefix = "poterne:limit:"

// Redis is a Limiter that all replicas share. One script decides and takes, by
// Redis's own clock, so neither races nor clocks that differ admit too much.
type Redis struct{ scripts Scripts }

// Scripts runs Lua scripts in Redis (package redisscript).
type Scripts interface {
	// Run runs a script on one key and returns the whole numbers of its answer.
	Run(ctx context.Context, source, key string, args ...any) ([]int64, error)
	Close() error
}

// NewRedis returns a limiter on scripts, which stay the caller's to close.
func NewRedis(scripts Scripts) *Redis { return &Redis{scripts: scripts} }

// Allow fails when Redis does not answer before ctx ends.
func (r *Redis) Allow(ctx context.Context, key string, cost int, l Limit) (Decision, error) {
	if err := l.check(cost); err != nil {
		return Decision{}, err
	}
	// Microseconds with a fraction: Lua's numbers hold these to a few nanoseconds.
	interval := float64(l.interval()) / float64(time.Microsecond)
	out, err := r.scripts.Run(ctx, gcraScript, redisPrefix+key, interval, l.burst(), cost)
	if err != nil {
		return Decision{}, fmt.Errorf("limit: ask Redis: %w", err)
	}
	if len(out) != 4 {
		return Decision{}, errors.New("limit: Redis answered something else than a decision")
	}
	return Decision{
		Allowed:    out[0] == 1,
		Limit:      l,
		Remaining:  int(out[1]),
		ResetAfter: time.Duration(out[2]) * time.Microsecond,
		RetryAfter: time.Duration(out[3]) * time.Microsecond,
	}, nil
}
