package embedded

import "github.com/poterne/poterne/services/search/internal/vector/segment"

const (
	// mappedParts is how many segments there must be for pages to be given back
	// at all: fewer hold too little.
	mappedParts = 4
	// givenBack is how many segments a search gives back when too much is mapped.
	// Those that are asked for again are read again, from what the system has
	// cached; the more at once, the longer this search takes.
	givenBack = 4
)

// bound gives some of the segments' pages back when more of mapped files is in
// memory than there should be, a few at a time and each in its turn. c.mu is held,
// so that segments are mapped; others may be reading them.
func (c *collection) bound() {
	parts := c.memory.parts
	if c.mapped <= 0 || len(parts) < mappedParts || segment.Mapped() <= c.mapped {
		return
	}
	for range min(givenBack, len(parts)) {
		parts[int(c.turn.Add(1))%len(parts)].segment.Unneeded()
	}
}
