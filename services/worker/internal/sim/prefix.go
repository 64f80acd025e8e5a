package sim

import (
	"container/list"
	"slices"
	"sync"
)

const blockTokens = 16

// prefixCache remembers the blocks of prompts that were seen, chained so that
// a block only counts when all before it do, as vLLM's automatic prefix caching
// works. What was used least recently is forgotten first, and of one prompt the
// end before the beginning.
type prefixCache struct {
	mu     sync.Mutex
	blocks int
	seen   map[uint64]*list.Element
	recent list.List // of uint64, the one used last in front
}

func newPrefixCache(tokens int) *prefixCache {
	return &prefixCache{blocks: max(tokens/blockTokens, 1), seen: make(map[uint64]*list.Element)}
}

// visit returns how many tokens of the prompt were already there, and adds the
// rest. Like vLLM it never takes the last token from the cache.
func (c *prefixCache) visit(prompt string, tokens int) int {
	const size = blockTokens * bytesPerToken
	c.mu.Lock()
	defer c.mu.Unlock()
	var chain []uint64
	for h := uint64(fnvOffset); len(prompt) >= size; prompt = prompt[size:] {
		h = hash(h, prompt[:size])
		chain = append(chain, h)
	}
	cached := 0
	for _, h := range chain {
		if _, ok := c.seen[h]; !ok {
			break
		}
		cached += blockTokens
	}
	for _, c0 := range slices.Backward(chain) {
		c.use(c0)
	}
	return max(min(cached, tokens-1), 0)
}

func (c *prefixCache) use(h uint64) {
	if e, ok := c.seen[h]; ok {
		c.recent.MoveToFront(e)
		return
	}
	if c.recent.Len() >= c.blocks {
		last := c.recent.Back()
		c.recent.Remove(last)
		if old, ok := last.Value.(uint64); ok {
			delete(c.seen, old)
		}
	}
	c.seen[h] = c.recent.PushFront(h)
}
