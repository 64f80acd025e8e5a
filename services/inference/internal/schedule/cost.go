package schedule

import (
	"math"

	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
)

const (
	// defaultPrefill and defaultService are seconds a token of a prompt, and a
	// request, while none was seen.
	defaultPrefill = 1.0 / 5000
	defaultService = 1.0
	// crowding is what each request that runs beside another costs it, as a share
	// of a request, when all slots are taken.
	crowding = 0.05
	// kvFull is the share of the memory for running requests above which an engine
	// begins to put some of them off.
	kvFull = 0.9
	// sessionShare and affinityShare are how much of a prompt the two are worth.
	sessionShare  = 0.25
	affinityShare = 0.05
)

// cost is the expected seconds to the first token.
func (s *Scored) cost(job *Job, c *fleet.Copy, affine, home bool) float64 {
	t, n := &s.Terms, &job.notes
	rate := rateOf(job, c)
	service := c.Service.Or(job.Pace.Service.Or(defaultService))
	tokens := job.Pace.Tokens(job.Prompt.Bytes())
	spared := t.Prefix * job.Pace.Tokens(blocksOf(n.held, c)*prefix.BlockBytes)
	if home {
		spared += t.Session * sessionShare * tokens
	}
	if affine {
		spared += t.Affinity * affinityShare * tokens
	}
	cost := rate*max(0, tokens-spared) + t.Prompts*s.unread(c, rate)

	load, slots := c.Load()
	busy := crowding * float64(load) / float64(slots)
	if beyond := load + 1 - slots; beyond > 0 {
		busy += float64(beyond) / float64(slots)
	}
	cost += t.Queue * service * busy
	if kv := c.KVCache(); kv > kvFull {
		cost += t.KVCache * service * (kv - kvFull) / (1 - kvFull)
	}
	return cost
}

func blocksOf(held []prefix.Held, c *fleet.Copy) int {
	id := c.Cache.ID()
	for _, h := range held {
		if h.ID == id {
			return h.Blocks
		}
	}
	return 0
}

// alike is the share by which a copy's own rate may differ from the version's
// without counting: as much comes by chance. If it counted, the copy that seems
// the fastest would get every prompt that finds several copies idle, and its
// cache would overflow while others' stand empty.
const alike = 0.2

// rateOf is the seconds that a copy takes for a token of a prompt.
func rateOf(job *Job, c *fleet.Copy) float64 {
	all := job.Pace.Prefill.Or(defaultPrefill)
	if own := c.Prefill.Or(all); math.Abs(own-all) > alike*all {
		return own
	}
	return all
}
