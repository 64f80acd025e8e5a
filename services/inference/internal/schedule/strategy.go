package schedule

import (
	"sync/atomic"

	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
)

// Strategy decides which copy gets a request. Its methods are called under a
// lock of the version's, at most one at a time for each version, but Prepare.
type Strategy interface {
	// Prepare reads of a job what takes time, once and before any lock is held.
	Prepare(job *Job)
	// Pick returns one of the version's ready copies for which may holds, or nil.
	Pick(job *Job, view *fleet.View, may func(*fleet.Copy) bool) *fleet.Copy
	// Began is told that the job runs on a copy, FirstToken that its prompt is
	// read, and Ended what came of it.
	Began(job *Job, c *fleet.Copy)
	FirstToken(job *Job, c *fleet.Copy)
	Ended(job *Job, c *fleet.Copy, r Result)
}

// Job is a request on its way, with what a strategy found out about it.
type Job struct {
	*Request

	// Pace is what is known of the version as a whole.
	Pace *Pace

	variant   string // the digest of the copies to pick from; empty: the version's
	saturated bool   // better variants are ready and have no room
	notes     notes
}

// On is the digest of the copies to pick from.
func (j *Job) On() string {
	if j.variant != "" {
		return j.variant
	}
	return j.Digest
}

// Pace is what was measured of a version on any copy. It is safe for concurrent
// use.
type Pace struct {
	// Prefill is seconds a token of a prompt takes, Service seconds a request,
	// Output the tokens of an answer, BytesPerToken the JSON text of a token.
	Prefill, Service, Output, BytesPerToken fleet.Average

	tellsCached atomic.Bool
}

// Tokens estimates the tokens of n bytes of prompt.
func (p *Pace) Tokens(n int) float64 {
	return float64(n) / p.BytesPerToken.Or(prefix.BytesPerToken)
}

// Result is what came of a job.
type Result struct {
	// Served says that the engine's answer is whole.
	Served bool
	// Cancelled says that the caller gave the request up: what was charged stays,
	// since the engine may have worked for it.
	Cancelled bool
	// FirstToken and Total are seconds from when the copy was given the job; 0
	// when there was none, or it was not seen.
	FirstToken, Total float64
	// Prompt, Cached and Output are tokens as the engine counted them; Counted
	// says that it did.
	Prompt, Cached, Output int
	Counted                bool
}

// loadOnly is for strategies that look at nothing but load.
type loadOnly struct{}

// Prepare does nothing.
func (loadOnly) Prepare(*Job) {}

// Began does nothing.
func (loadOnly) Began(*Job, *fleet.Copy) {}

// FirstToken does nothing.
func (loadOnly) FirstToken(*Job, *fleet.Copy) {}

// Ended does nothing.
func (loadOnly) Ended(*Job, *fleet.Copy, Result) {}

// Picker picks by load alone, as routing.Picker does.
type Picker interface {
	Pick(copies, tried []*fleet.Copy, key string) *fleet.Copy
}

// LeastLoad gives a request to the copy with the fewest requests for its slots.
type LeastLoad struct {
	loadOnly

	Picker Picker
}

// Pick takes the least loaded.
func (s *LeastLoad) Pick(job *Job, view *fleet.View, may func(*fleet.Copy) bool) *fleet.Copy {
	copies := view.Ready(job.On())
	var not []*fleet.Copy
	for _, c := range copies {
		if !may(c) {
			not = append(not, c)
		}
	}
	return s.Picker.Pick(copies, not, job.Key)
}

// RoundRobin gives requests to the copies in turn.
type RoundRobin struct {
	loadOnly

	next atomic.Uint64
}

// Pick takes the next that may be taken.
func (s *RoundRobin) Pick(job *Job, view *fleet.View, may func(*fleet.Copy) bool) *fleet.Copy {
	copies := view.Ready(job.On())
	first := s.next.Add(1)
	for i := range uint64(len(copies)) {
		if c := copies[(first+i)%uint64(len(copies))]; may(c) {
			return c
		}
	}
	return nil
}
