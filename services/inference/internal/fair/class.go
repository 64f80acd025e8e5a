package fair

// enter returns the tenant, lifted if it was away. The caller makes it be there
// and ranks it.
func (c *class[T]) enter(name string, weight float64) *tenant[T] {
	t := c.tenants[name]
	if t == nil {
		t = &tenant[T]{name: name, atHere: -1, atWaiting: -1}
		c.tenants[name] = t
	}
	t.weight = weight
	if !t.there() {
		t.counter = max(t.counter, c.least())
	}
	return t
}

// rank puts the tenant where it belongs.
func (c *class[T]) rank(t *tenant[T]) {
	c.here.set(t, t.there())
	c.waiting.set(t, t.items.Len() > 0)
}

// least is the least counter of those that are there, or the last that was.
func (c *class[T]) least() float64 {
	if t := c.here.first(); t != nil {
		c.floor = max(c.floor, t.counter)
	}
	return c.floor
}

// maxAway bounds the tenants that are remembered while they are away.
const maxAway = 4096

// left ranks a tenant of which something ended, and forgets it when it is away,
// unless it was served more than others: then it must not come back as a new
// one.
func (c *class[T]) left(t *tenant[T]) {
	c.rank(t)
	if t.there() {
		return
	}
	if c.here.Len() == 0 {
		// What was served while nobody else wanted it is held against nobody.
		c.floor = max(c.floor, t.counter)
	}
	if t.counter <= c.least() {
		delete(c.tenants, t.name)
		return
	}
	if len(c.tenants)-c.here.Len() <= maxAway {
		return
	}
	for name, other := range c.tenants {
		if !other.there() && (other.counter <= c.floor || len(c.tenants)-c.here.Len() > maxAway/2) {
			delete(c.tenants, name)
		}
	}
}
