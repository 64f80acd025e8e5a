package batch

import (
	"container/heap"

	"github.com/poterne/poterne/services/worker/internal/engine"
)

// key is what inputs must have in common to be sent together.
type key struct {
	engine     Engine
	inputType  string
	dimensions int
	extra      string
	tokens     bool // OpenAI's API takes no mixture of texts and tokens
}

// item is one input.
type item struct {
	caller *caller
	index  int // among the caller's inputs
	input  engine.Input
	tokens int // at least about
}

// flow is what a caller has waiting of one key.
type flow struct {
	key    key
	limits engine.EmbedLimits
	items  []item // that wait

	// tag is the queue's virtual time at which the first item is due.
	tag   float64
	order uint64 // of arrival
	at    int    // in the group's heap; -1 when it is in none
	group *group
	last  *batch // that items were taken for
}

// flowsOf returns the caller's inputs, by kind.
func flowsOf(c *caller, e Engine, r engine.EmbedRequest, limits engine.EmbedLimits) []*flow {
	base := key{engine: e, inputType: r.InputType, dimensions: r.Dimensions, extra: string(r.Extra)}
	var byKind [2]*flow
	for i, in := range r.Inputs {
		kind := 0
		if len(in.Tokens) > 0 {
			kind = 1
		}
		f := byKind[kind]
		if f == nil {
			f = &flow{key: base, limits: limits, at: -1}
			f.key.tokens = kind == 1
			byKind[kind] = f
			c.flows = append(c.flows, f)
		}
		f.items = append(f.items, item{caller: c, index: i, input: in, tokens: in.LeastTokens()})
	}
	return c.flows
}

// queue is what waits, fair among callers by tokens: start-time fair queueing
// (Goyal, Vin and Cheng, SIGCOMM 1996). Each flow's first input is due at the
// flow's tag, and each input that is taken moves it on by its tokens. One that
// arrives is due at what was taken last, so that it comes before the rest of
// those who were served already. Its user holds a lock.
type queue struct {
	groups map[key]*group
	now    float64 // the tag of what was taken last
	orders uint64
}

// group is the flows of one key.
type group struct {
	flows flowHeap
	items int
}

func newQueue() queue { return queue{groups: make(map[key]*group)} }

func (q *queue) add(f *flow) {
	q.orders++
	f.tag, f.order = q.now, q.orders
	q.put(f)
}

func (q *queue) put(f *flow) {
	g := q.groups[f.key]
	if g == nil {
		g = &group{}
		q.groups[f.key] = g
	}
	f.group = g
	g.items += len(f.items)
	heap.Push(&g.flows, f)
}

// remove takes out what is left of a flow.
func (q *queue) remove(f *flow) {
	if f.at < 0 {
		return
	}
	g := f.group
	heap.Remove(&g.flows, f.at)
	g.items -= len(f.items)
	q.tidy(f.key, g)
}

func (q *queue) tidy(k key, g *group) {
	if len(g.flows) == 0 {
		delete(q.groups, k)
	}
}

// first returns the group whose turn it is, or nil. There are as many groups as
// callers with parameters of their own, which the model's gate bounds.
func (q *queue) first() *group {
	var best *group
	for _, g := range q.groups {
		if best == nil || g.flows[0].before(best.flows[0]) {
			best = g
		}
	}
	return best
}

// take takes a batch out of the group. Flows of which more is left do not wait
// until the batch is back: one caller has no more than one batch of a kind in the
// engine, however many calls it computes at once.
func (q *queue) take(g *group, maxBytes int) *batch {
	first := g.flows[0]
	t := &batch{key: first.key, limits: first.limits}
	tokens, size := 0, 0
	for len(g.flows) > 0 && len(t.items) < t.limits.Inputs {
		f := g.flows[0]
		it := f.items[0]
		tokens += it.tokens
		size += it.input.Bytes()
		if len(t.items) > 0 && (t.limits.Tokens > 0 && tokens > t.limits.Tokens || size > maxBytes) {
			break
		}
		if f.last != t {
			f.last = t
			t.flows = append(t.flows, f)
		}
		t.items = append(t.items, it)
		q.now = max(q.now, f.tag)
		f.items = f.items[1:]
		g.items--
		if len(f.items) == 0 {
			heap.Pop(&g.flows)
			continue
		}
		f.tag += float64(it.tokens + 1) // an empty text is no free one
		heap.Fix(&g.flows, 0)
	}
	for _, f := range t.flows {
		q.remove(f)
	}
	q.tidy(first.key, g)
	return t
}

// back puts what is left of a batch's flows in line again.
func (q *queue) back(t *batch) {
	for _, f := range t.flows {
		if len(f.items) > 0 && !f.items[0].caller.finished {
			q.put(f)
		}
	}
	t.flows = nil
}

func (f *flow) before(other *flow) bool {
	return f.tag < other.tag || f.tag == other.tag && f.order < other.order
}

// flowHeap is flows by when they are due.
type flowHeap []*flow

func (h flowHeap) Len() int           { return len(h) }
func (h flowHeap) Less(i, j int) bool { return h[i].before(h[j]) }

func (h flowHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is for package heap.
func (h *flowHeap) Push(x any) {
	if f, ok := x.(*flow); ok {
		f.at = len(*h)
		*h = append(*h, f)
	}
}

// Pop is for package heap.
func (h *flowHeap) Pop() any {
	last := len(*h) - 1
	f := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	f.at = -1
	return f
}
