package sim

import "sync"

const blockTokens = 16

// prefixCache remembers the blocks of prompts that were seen, chained so that
// a block only counts when all before it do, as vLLM's automatic prefix caching
// works. What came first is forgotten first.
type prefixCache struct {
	mu    sync.Mutex
	seen  map[uint64]struct{}
	order []uint64 // a ring
	next  int
}

func newPrefixCache(tokens int) *prefixCache {
	blocks := max(tokens/blockTokens, 1)
	return &prefixCache{seen: make(map[uint64]struct{}), order: make([]uint64, blocks)}
}

// visit returns how many tokens of the prompt were already there, and adds the
// rest. Like vLLM it never takes the last token from the cache.
func (c *prefixCache) visit(prompt string, tokens int) int {
	const size = blockTokens * bytesPerToken
	c.mu.Lock()
	defer c.mu.Unlock()
	h, cached, whole := uint64(fnvOffset), 0, true
	for len(prompt) >= size {
		h = hash(h, prompt[:size])
		prompt = prompt[size:]
		_, ok := c.seen[h]
		if whole = whole && ok; whole {
			cached += blockTokens
		}
		if !ok {
			c.add(h)
		}
	}
	return max(min(cached, tokens-1), 0)
}

func (c *prefixCache) add(h uint64) {
	delete(c.seen, c.order[c.next])
	c.order[c.next] = h
	c.seen[h] = struct{}{}
	c.next = (c.next + 1) % len(c.order)
}
