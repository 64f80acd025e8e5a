package schedule

import (
	"math"
	"time"

	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
)

// What a copy has to read is followed as if its engine read one prompt after the
// other in the order in which they were given, as fast as it was seen to: nearly
// what engines do, and all that can be seen from outside. The order is told by
// how many tokens the copy was given in all.

// reading is what is noted of one prompt.
type reading struct {
	given int64         // tokens to read; 0 once they are read
	to    int64         // what the copy was given in all, up to these
	alone bool          // nothing was unread when it was given
	begun int64         // when it was given, in Unix nanoseconds
	took  time.Duration // what reading it took; 0 is not known
}

func nanos(seconds float64) int64 { return int64(seconds * float64(time.Second)) }

// given notes that a copy has the job's prompt to read, less what is cached.
func given(job *Job, c *fleet.Copy, now int64) {
	r := &job.notes.reading
	cached := job.notes.expected * prefix.BlockBytes
	r.given = int64(math.Ceil(max(0, job.Pace.Tokens(job.Prompt.Bytes()-cached))))
	r.alone = c.Prompts.Add(r.given) == r.given
	r.to = c.Given.Add(r.given)
	r.begun = now
	c.ReadUntil.Store(max(now, c.ReadUntil.Load()) + nanos(float64(r.given)*rateOf(job, c)))
}

// read notes that the prompt is read, now. What was given after it begins now,
// whatever was expected before: an engine that is late with one is late with all
// that follow, and who did not notice would give it more and more.
func read(job *Job, c *fleet.Copy, now int64) {
	r := &job.notes.reading
	if r.given == 0 {
		return
	}
	if last := c.ReadAt.Load(); r.alone || last > 0 && c.ReadTo.Load() == r.to-r.given {
		// The one before it was read then, or before this one came.
		r.took = time.Duration(now - max(r.begun, last))
	}
	c.Prompts.Add(-r.given)
	r.given = 0
	c.ReadTo.Store(max(c.ReadTo.Load(), r.to))
	c.ReadAt.Store(now)
	c.ReadUntil.Store(now + nanos(float64(ahead(c))*rateOf(job, c)))
}

// ended notes that the request is over. If it was answered and nobody saw that
// begin, the prompt was read at some time before; if it was not, the prompt is
// read no more, and nothing is known of those before it.
func ended(job *Job, c *fleet.Copy, now int64, answered bool) {
	r := &job.notes.reading
	if r.given == 0 {
		return
	}
	dropped := r.given
	c.Prompts.Add(-dropped)
	r.given = 0
	if !answered {
		c.ReadUntil.Store(max(now, c.ReadUntil.Load()-nanos(float64(dropped)*rateOf(job, c))))
		return
	}
	if r.to > c.ReadTo.Load() {
		c.ReadTo.Store(r.to)
		c.ReadAt.Store(0)
	}
	latest := now + nanos(float64(ahead(c))*rateOf(job, c))
	c.ReadUntil.Store(min(c.ReadUntil.Load(), latest))
}

// ahead is the tokens that the copy has not read yet, as far as is known.
func ahead(c *fleet.Copy) int64 { return min(c.Prompts.Load(), c.Given.Load()-c.ReadTo.Load()) }

// lateShare is how much of the prompts is taken to be unread when they should be
// read by now.
const lateShare = 0.1

// unread is the seconds until the prompts that the copy was given before are
// read. What it was given a while ago is nearly done: to count it whole would
// take two copies for alike of which one is free soon.
func (s *Scored) unread(c *fleet.Copy, rate float64) float64 {
	prompts := ahead(c)
	if prompts <= 0 {
		return 0
	}
	left := float64(c.ReadUntil.Load()-s.Now().UnixNano()) / float64(time.Second)
	return max(left, lateShare*rate*float64(prompts))
}
