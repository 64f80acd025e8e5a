package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// unobserved is told and forgets.
type unobserved struct{}

func (unobserved) Asked(context.Context)             {}
func (unobserved) Local(context.Context, error)      {}
func (unobserved) Away(context.Context, bool, error) {}
func (unobserved) Replicas(context.Context, int)     {}

// model is a Redis that runs the scripts as Go does: the suite holds the scripts to
// the same arithmetic. It can be away, or hang.
type model struct {
	clock clock.Clock
	epoch time.Time

	mu    sync.Mutex
	tat   map[string]time.Duration
	told  map[string]uint64 // settlements that were made
	slots map[string]map[string]time.Time
	edges int
	mode  mode
	takes int // calls
	all   int
}

type mode int

const (
	works mode = iota
	fails
	hangs
	loses // does it, and then does not answer
)

func newModel(c clock.Clock) *model {
	return &model{clock: c, epoch: c.Now(), tat: make(map[string]time.Duration), told: make(map[string]uint64), slots: make(map[string]map[string]time.Time), edges: 1}
}

func (m *model) set(to mode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mode = to
}

func (m *model) calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all
}

func (m *model) Close() error { return nil }

func (m *model) Run(ctx context.Context, source string, keys []string, args ...any) ([]int64, error) {
	m.mu.Lock()
	m.all++
	now := m.mode
	if now == works || now == loses {
		out := m.run(source, keys, args)
		m.mu.Unlock()
		if now == loses {
			return nil, errors.New("the connection is lost")
		}
		return out, nil
	}
	m.mu.Unlock()
	if now == fails {
		return nil, errors.New("away")
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (m *model) run(source string, keys []string, args []any) []int64 {
	now := m.clock.Now().Sub(m.epoch)
	switch source {
	case edgesScript:
		return []int64{int64(m.edges)}
	case settleScript:
		return m.settle(now, keys, args)
	case takeScript:
		m.takes++
		return m.take(now, keys, args)
	case slotsScript:
		return m.slot(m.clock.Now(), keys, args)
	default:
		panic(fmt.Sprintf("an unknown script: %.40s", source))
	}
}

// arg is a script's argument, of the type that the script's caller gives it.
func arg[T any](args []any, i int) T {
	v, ok := args[i].(T)
	if !ok {
		panic(fmt.Sprintf("argument %d is a %T, not a %T", i, args[i], v))
	}
	return v
}

// limitOf is a limit of the interval, in microseconds, and the burst.
func limitOf(interval float64, burst int) Limit {
	return Limit{Amount: 1, Period: time.Duration(interval * float64(time.Microsecond)), Burst: burst}
}

func (m *model) take(now time.Duration, keys []string, args []any) (out []int64) {
	refused := false
	for i, k := range keys {
		l, need := limitOf(arg[float64](args, 4*i), arg[int](args, 4*i+1)), arg[int](args, 4*i+2)
		_, d := gcra(now, m.tat[k], need, l)
		refused = refused || !d.Allowed
	}
	for i, k := range keys {
		l, need := limitOf(arg[float64](args, 4*i), arg[int](args, 4*i+1)), arg[int](args, 4*i+2)
		tat, d := gcra(now, m.tat[k], need, l)
		had, leased := int64(1), 0
		switch {
		case !d.Allowed:
			had = 0
		case !refused:
			leased = min(arg[int](args, 4*i+3), d.Remaining/2)
			tat, d = gcra(now, tat, leased, l)
			m.tat[k] = tat
		default:
			d = state(now, m.tat[k], l)
		}
		out = append(out, had, int64(leased), int64(d.Remaining), d.ResetAfter.Microseconds(), d.RetryAfter.Microseconds())
	}
	return out
}

func (m *model) settle(now time.Duration, keys []string, args []any) (out []int64) {
	again := m.told[keys[0]] >= arg[uint64](args, 0)
	m.told[keys[0]] = arg[uint64](args, 0)
	at := 1
	for _, k := range keys[1:] {
		l, parts := limitOf(arg[float64](args, at), arg[int](args, at+1)), arg[int](args, at+2)
		tat := m.tat[k]
		at += 3
		for range parts {
			tat = max(tat, now-time.Duration(arg[int64](args, at+1))*time.Microsecond) + l.interval()*time.Duration(min(max(arg[int](args, at), -1<<30), 1<<30))
			at += 2
		}
		if !again {
			m.tat[k] = min(max(tat, now), now+maxDebt*l.tolerance())
		}
		out = append(out, max(m.tat[k]-now, 0).Microseconds())
	}
	return out
}

func (m *model) slot(now time.Time, keys []string, args []any) []int64 {
	name, alive := arg[string](args, 0), time.Duration(arg[int64](args, 2))*time.Microsecond
	out, full := []int64{0}, 0
	for i, k := range keys {
		if m.slots[k] == nil {
			m.slots[k] = make(map[string]time.Time)
		}
		for id, end := range m.slots[k] {
			if !end.After(now) {
				delete(m.slots[k], id)
			}
		}
		switch name {
		case "end":
			delete(m.slots[k], arg[string](args, 1))
		case "keep":
			for n := 3; n < len(args); n++ {
				m.slots[k][arg[string](args, n)] = now.Add(alive)
			}
		default:
			if len(m.slots[k]) >= arg[int](args, 3+i) && full == 0 {
				full = i + 1
			}
			out = append(out, int64(len(m.slots[k])))
		}
	}
	if name == "take" && full == 0 {
		for i, k := range keys {
			m.slots[k][arg[string](args, 1)] = now.Add(alive)
			out[i+1]++
		}
	}
	out[0] = int64(full)
	return out
}
