package schedule

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/sticky"
)

// Terms are the weights of what Scored adds up. All are in seconds, so that 1 is
// the natural weight of each; 0 turns a term off.
type Terms struct {
	// Prefix is trust in what the engines' prefix caches are believed to hold.
	Prefix float64
	// Prompts counts the prompts that were given to a copy and not read yet.
	Prompts float64
	// Queue counts requests, above all those beyond the slots.
	Queue float64
	// KVCache avoids a copy whose memory for running requests is nearly full: it
	// would put some of them off.
	KVCache float64
	// Session prefers the copy that is the session's home (package sticky).
	Session float64
	// Affinity leads a prompt that nobody is known to hold to the same copy from
	// every replica.
	Affinity float64
}

// DefaultTerms has every term at its natural weight.
func DefaultTerms() Terms {
	return Terms{Prefix: 1, Prompts: 1, Queue: 1, KVCache: 1, Session: 1, Affinity: 1}
}

// Scored gives a request to the copy that is expected to have its first token
// soonest. What it expects is the sum of the time to read the part of the prompt
// that the copy has not cached, the time for the prompts before it, and the time
// until a slot is free. A copy that is overloaded thus loses to one that has to
// read the prompt anew as soon as that costs less, and one without room is not
// asked at all.
//
// The terms are those of the schedulers in llm-d and the Gateway API inference
// extension (prefix, queue and KV-cache scorers), added up as costs in the way
// of NVIDIA Dynamo's router and of Preble (Srivatsa et al., "Preble: Efficient
// Distributed Prompt Scheduling for LLM Serving", 2024), with rates that are
// measured instead of weights that are tuned.
type Scored struct {
	Terms Terms
	Index *prefix.Index
	// Balance is how far above its part of the load a copy may be and still be a
	// session's home; 0 is sticky.DefaultBalance.
	Balance float64
	// Now is the present.
	Now func() time.Time
	// Random returns 64 random bits and is safe for concurrent use.
	Random func() uint64
}

// notes is what Scored found out about a job.
type notes struct {
	chain    prefix.Chain
	session  uint64 // of the session's name; 0: it has none
	key      uint64
	held     []prefix.Held
	expected int // blocks that the chosen copy has cached
	reading  reading
}

// sampleAbove is the number of copies above which only some are compared: those
// that hold a part of the prompt, the one that all replicas prefer, and some at
// random (the power of d choices).
const (
	sampleAbove = 32
	sampled     = 8
)

// Pick returns the copy with the least expected time.
func (s *Scored) Pick(job *Job, view *fleet.View, may func(*fleet.Copy) bool) *fleet.Copy {
	n := &job.notes
	live := func(id uint32) *prefix.Cache {
		if c := view.ByCache(job.On(), id); c != nil {
			return &c.Cache
		}
		return nil
	}
	n.held = s.Index.Find(n.held, n.chain, live)
	copies := view.Ready(job.On())
	r := race{s: s, job: job, may: may, affine: s.affine(job, copies), home: s.home(job, copies, may)}
	if len(copies) <= sampleAbove {
		return r.run(copies)
	}
	for _, h := range n.held {
		r.enter(view.ByCache(job.On(), h.ID))
	}
	r.enter(r.affine)
	r.enter(r.home)
	for range sampled {
		r.enter(copies[s.Random()%uint64(len(copies))])
	}
	if r.best != nil {
		return r.best
	}
	return r.run(copies)
}

// Prepare finds the prompt's blocks.
func (s *Scored) Prepare(job *Job) {
	n := &job.notes
	n.key = xxhash.Sum64String(job.Key)
	if s.Terms.Prefix > 0 {
		n.chain = prefix.ChainOf(nil, job.Digest, job.Prompt)
	}
	if len(n.chain) > 0 {
		// Between equals prompts are spread rather than callers.
		n.key = n.chain[min(root, len(n.chain))-1]
	}
	if s.Terms.Session > 0 && job.Session != "" {
		n.session = max(1, xxhash.Sum64String(job.Digest+"\x00"+job.Session))
	}
}

// root is the block that stands for what a prompt begins with: prompts that
// share as much are worth having in one place.
const root = 4

// affine returns the copy that every replica prefers for a prompt that nobody
// holds: the one with the largest rendezvous weight.
func (s *Scored) affine(job *Job, copies []*fleet.Copy) *fleet.Copy {
	n := &job.notes
	if s.Terms.Affinity <= 0 || len(n.chain) < root {
		return nil
	}
	for _, h := range n.held {
		if h.Blocks >= root {
			return nil
		}
	}
	var best *fleet.Copy
	var most uint64
	for _, c := range copies {
		if w := mix(n.chain[root-1] ^ c.Hash()); best == nil || w > most {
			best, most = c, w
		}
	}
	return best
}

// home returns the copy that the session's requests go to, unless another one has a
// better reason: every replica finds the same, and none is far above its part of the
// load, however many sessions have it for their first choice.
func (s *Scored) home(job *Job, copies []*fleet.Copy, may func(*fleet.Copy) bool) *fleet.Copy {
	if job.notes.session == 0 {
		return nil
	}
	balance := s.Balance
	if balance == 0 {
		balance = sticky.DefaultBalance
	}
	i := sticky.Home(job.notes.session, len(copies), func(i int) sticky.Target {
		c := copies[i]
		load, slots := c.Load()
		return sticky.Target{Hash: c.Hash(), Load: load, Capacity: slots, Away: !may(c) || c.Worker().Cooling(s.Now)}
	}, balance)
	if i < 0 {
		return nil
	}
	return copies[i]
}

// mix is the final mixing of MurmurHash3.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// race compares copies. One that could not be reached of late wins only against
// nobody.
type race struct {
	s      *Scored
	job    *Job
	may    func(*fleet.Copy) bool
	affine *fleet.Copy
	home   *fleet.Copy

	best    *fleet.Copy
	cost    float64
	cooling bool
}

func (r *race) run(copies []*fleet.Copy) *fleet.Copy {
	for _, c := range copies {
		r.enter(c)
	}
	return r.best
}

func (r *race) enter(c *fleet.Copy) {
	if c == nil || c == r.best || !r.may(c) {
		return
	}
	cooling := c.Worker().Cooling(r.s.Now)
	cost := r.s.cost(r.job, c, c == r.affine, c == r.home)
	switch {
	case r.best == nil, r.cooling && !cooling:
	case cooling && !r.cooling, cost > r.cost:
		return
	case cost == r.cost && mix(r.job.notes.key^c.Hash()) < mix(r.job.notes.key^r.best.Hash()):
		return
	}
	r.best, r.cost, r.cooling = c, cost, cooling
}

// Began notes that the copy will have the prompt cached, and has it to read.
func (s *Scored) Began(job *Job, c *fleet.Copy) {
	n := &job.notes
	n.expected = blocksOf(n.held, c)
	s.Index.Add(n.chain, &c.Cache)
	given(job, c, s.Now().UnixNano())
}

// FirstToken notes that the prompt is read.
func (s *Scored) FirstToken(job *Job, c *fleet.Copy) { read(job, c, s.Now().UnixNano()) }

// leastPrompt is the smallest number of tokens whose time says something.
const leastPrompt = 64

// Ended learns from what the engine counted.
func (s *Scored) Ended(job *Job, c *fleet.Copy, r Result) {
	n := &job.notes
	ended(job, c, s.Now().UnixNano(), r.Served)
	if !r.Counted {
		return
	}
	if fresh := r.Prompt - r.Cached; n.reading.took > 0 && fresh >= leastPrompt {
		rate := n.reading.took.Seconds() / float64(fresh)
		if c.Prefill.Or(0) == 0 {
			// One prompt says little of the copy: it is taken for one like the others.
			c.Prefill.Observe(job.Pace.Prefill.Or(rate))
		}
		c.Prefill.Observe(rate)
		job.Pace.Prefill.Observe(rate)
	}
	if r.Cached > 0 {
		job.Pace.tellsCached.Store(true)
	}
	// An engine that never says what it had cached is not taken for one that has
	// nothing cached.
	if n.expected > 0 && job.Pace.tellsCached.Load() {
		bytes := float64(r.Cached) * job.Pace.BytesPerToken.Or(prefix.BytesPerToken)
		s.Index.Learn(&c.Cache, n.expected, int(bytes/prefix.BlockBytes+0.5))
	}
}
