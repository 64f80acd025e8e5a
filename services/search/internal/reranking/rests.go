package reranking

import (
	"sync"
	"time"
)

// A model that gave no scores restAfter times in a row is not asked for restTime:
// each of its searches would wait as long in vain.
const (
	restAfter = 3
	restTime  = 10 * time.Second
	// mostResting bounds the models that are known to fail.
	mostResting = 256
)

// rests are the models that fail. It is safe for concurrent use.
type rests struct {
	mu     sync.Mutex
	models map[string]failing
}

type failing struct {
	times int
	until time.Time // once it rests
}

// resting reports whether the model is not to be asked now. Once its time is over,
// one call is let through, and the others when that went well.
func (r *rests) resting(model string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, known := r.models[model]
	if !known || f.times < restAfter {
		return false
	}
	if now.Before(f.until) {
		return true
	}
	f.until = now.Add(restTime)
	r.models[model] = f
	return false
}

// note takes down how a call ended.
func (r *rests) note(model string, failed bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, known := r.models[model]
	switch {
	case !failed:
		delete(r.models, model)
	case known || len(r.models) < mostResting:
		if r.models == nil {
			r.models = make(map[string]failing)
		}
		f.times, f.until = f.times+1, now.Add(restTime)
		r.models[model] = f
	}
}
