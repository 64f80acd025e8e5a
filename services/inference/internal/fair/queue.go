// Package fair is the order in which requests that wait get their turn: by
// class, inside a class fairly among tenants by what they cost, and of one
// tenant in the order of arrival. It starts nothing, waits for nothing and reads
// no clock: who uses it holds a lock around it. Start reading at Queue.
//
// Fairness is the virtual token counter of Sheng et al., "Fairness in Serving
// Large Language Models" (OSDI 2024): each tenant has a counter of what it was
// served, in weighted tokens; the one with the least is next; one that was away
// is lifted to the least of those that are there, so that nobody saves up. Here
// a tenant is there while it waits or is served, and the counters are charged
// with what is expected and corrected by what came of it.
package fair

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
)

// Class is how urgent a request is. Classes come strictly in order.
type Class uint8

// The classes. Batch has no one waiting for it.
const (
	Interactive Class = iota
	Standard
	Batch
	classes
)

// String is the class's name, as metrics and the configuration have it.
func (c Class) String() string {
	switch c {
	case Interactive:
		return "interactive"
	case Batch:
		return "batch"
	case Standard, classes:
	}
	return "standard"
}

// Item is one request that waits.
type Item[T any] struct {
	Value  T
	Tenant string
	Class  Class
	// Bytes is what the item holds in memory while it waits.
	Bytes int

	place *list.Element
	owner *tenant[T]
}

// Options bounds a Queue.
type Options struct {
	// MaxItems and MaxBytes bound what waits.
	MaxItems, MaxBytes int
	// Weight is a tenant's share relative to others', 1 when nil. It must be
	// positive.
	Weight func(tenant string) float64
}

// Queue holds what waits and who was served how much.
type Queue[T any] struct {
	opts    Options
	classes [classes]class[T]
	n       int
	bytes   int
}

// class is one class's tenants.
type class[T any] struct {
	tenants map[string]*tenant[T]
	here    ranking[T] // those that wait or are served
	waiting ranking[T] // those that wait
	n       int
	// floor is the least counter of those that are there, as of the last look, or
	// of the last one that was there: nobody comes back with less.
	floor float64
}

type tenant[T any] struct {
	name    string
	counter float64
	weight  float64
	running int
	items   list.List // of *Item[T]
	// Where it is in the class's rankings.
	atHere, atWaiting int
}

func (t *tenant[T]) there() bool { return t.running > 0 || t.items.Len() > 0 }

// New returns an empty queue.
func New[T any](opts Options) *Queue[T] {
	q := &Queue[T]{opts: opts}
	for i := range q.classes {
		q.classes[i] = class[T]{
			tenants: make(map[string]*tenant[T]),
			here:    ranking[T]{where: func(t *tenant[T]) *int { return &t.atHere }},
			waiting: ranking[T]{where: func(t *tenant[T]) *int { return &t.atWaiting }},
		}
	}
	return q
}

// Len returns how many items wait.
func (q *Queue[T]) Len() int { return q.n }

// LenOf returns how many items of a class wait.
func (q *Queue[T]) LenOf(c Class) int { return q.classes[c].n }

// Push lets an item wait. When there is no room, the item that came last of the
// tenant that has most of a class no better gives up its place, unless that is
// the pusher's own tenant: then the pusher is refused. evicted is the item that
// lost its place.
func (q *Queue[T]) Push(it *Item[T]) (evicted []*Item[T], ok bool) {
	if it.Bytes > q.opts.MaxBytes {
		return nil, false
	}
	for q.n >= q.opts.MaxItems || q.bytes+it.Bytes > q.opts.MaxBytes {
		victim := q.victim(it)
		if victim == nil {
			q.restore(evicted) // it was for nothing
			return nil, false
		}
		q.Remove(victim)
		evicted = append(evicted, victim)
	}
	q.append(it)
	return evicted, true
}

// restore puts back what was taken out last, in the places where it was.
func (q *Queue[T]) restore(items []*Item[T]) {
	for _, it := range slices.Backward(items) {
		q.append(it)
	}
}

func (q *Queue[T]) append(it *Item[T]) {
	c := &q.classes[it.Class]
	t := c.enter(it.Tenant, q.weight(it.Tenant))
	it.owner, it.place = t, t.items.PushBack(it)
	c.rank(t)
	c.n++
	q.n++
	q.bytes += it.Bytes
}

// victim returns the item that gives its place to it, or nil.
func (q *Queue[T]) victim(it *Item[T]) *Item[T] {
	for at := classes - 1; ; at-- {
		var longest *tenant[T]
		name := ""
		for n, t := range q.classes[at].tenants {
			if longest == nil || t.items.Len() > longest.items.Len() || t.items.Len() == longest.items.Len() && n < name {
				longest, name = t, n
			}
		}
		if longest != nil && longest.items.Len() > 0 {
			own := q.classes[it.Class].tenants[it.Tenant]
			if at == it.Class && (longest == own || own != nil && longest.items.Len() <= own.items.Len()+1) {
				return nil
			}
			last, _ := longest.items.Back().Value.(*Item[T])
			return last
		}
		if at <= it.Class {
			return nil
		}
	}
}

// Next returns the item whose turn it is, without taking it out; nil when none
// waits.
func (q *Queue[T]) Next() *Item[T] {
	for at := range q.classes {
		if it := q.NextOf(Class(at)); it != nil {
			return it
		}
	}
	return nil
}

// NextOf is Next of one class.
func (q *Queue[T]) NextOf(at Class) *Item[T] {
	t := q.classes[at].waiting.first()
	if t == nil {
		return nil
	}
	it, _ := t.items.Front().Value.(*Item[T])
	return it
}

// NextWhere is NextOf among the items for which may holds. It looks at all that
// wait, in their order, until one is found.
func (q *Queue[T]) NextWhere(at Class, may func(T) bool) *Item[T] {
	waiting := slices.Clone(q.classes[at].waiting.list)
	slices.SortFunc(waiting, func(a, b *tenant[T]) int {
		return cmp.Or(cmp.Compare(a.counter, b.counter), strings.Compare(a.name, b.name))
	})
	for _, t := range waiting {
		for e := t.items.Front(); e != nil; e = e.Next() {
			if it, _ := e.Value.(*Item[T]); may(it.Value) {
				return it
			}
		}
	}
	return nil
}

// Remove takes an item out: its turn has come, or it waits no longer. One that
// is out already is left alone.
func (q *Queue[T]) Remove(it *Item[T]) {
	if it.place == nil {
		return
	}
	it.owner.items.Remove(it.place)
	it.place = nil
	c := &q.classes[it.Class]
	c.n--
	q.n--
	q.bytes -= it.Bytes
	c.left(it.owner)
}

// Begin notes that a tenant's request is served, and charges what it is expected
// to cost.
func (q *Queue[T]) Begin(name string, at Class, cost float64) {
	c := &q.classes[at]
	t := c.enter(name, q.weight(name))
	t.running++
	t.counter += cost / t.weight
	c.rank(t)
}

// End notes that it is served no more; correction is what it cost above what was
// charged, below 0 when it was less.
func (q *Queue[T]) End(name string, at Class, correction float64) {
	c := &q.classes[at]
	t := c.tenants[name]
	if t == nil || t.running == 0 {
		return
	}
	t.running--
	// Others may have been lifted to what was charged: nobody falls back behind
	// them, or a large charge that is given back would put the others last.
	t.counter = max(t.counter+correction/t.weight, min(t.counter, c.floor))
	c.left(t)
}

// Ahead returns how many items would be served before one that a tenant pushed
// now: all of better classes, and of its own class from each other tenant as
// many as it has itself by then.
func (q *Queue[T]) Ahead(name string, at Class) int {
	n := 0
	for better := range at {
		n += q.classes[better].n
	}
	own := 0
	if t := q.classes[at].tenants[name]; t != nil {
		own = t.items.Len()
	}
	for other, t := range q.classes[at].tenants {
		if other != name {
			n += min(t.items.Len(), own+1)
		}
	}
	return n + own
}

func (q *Queue[T]) weight(name string) float64 {
	if q.opts.Weight == nil {
		return 1
	}
	return q.opts.Weight(name)
}
