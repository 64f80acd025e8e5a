package fair

import "container/heap"

// ranking is tenants with the least counter first; where is a tenant's place in
// it, -1 when it has none.
type ranking[T any] struct {
	list  []*tenant[T]
	where func(t *tenant[T]) *int
}

func (r *ranking[T]) Len() int { return len(r.list) }

func (r *ranking[T]) Less(i, j int) bool {
	a, b := r.list[i], r.list[j]
	return a.counter < b.counter || a.counter == b.counter && a.name < b.name
}

func (r *ranking[T]) Swap(i, j int) {
	r.list[i], r.list[j] = r.list[j], r.list[i]
	*r.where(r.list[i]), *r.where(r.list[j]) = i, j
}

// Push is for package heap.
func (r *ranking[T]) Push(x any) {
	t, ok := x.(*tenant[T])
	if !ok {
		return
	}
	*r.where(t) = len(r.list)
	r.list = append(r.list, t)
}

// Pop is for package heap.
func (r *ranking[T]) Pop() any {
	last := len(r.list) - 1
	t := r.list[last]
	r.list[last] = nil
	r.list = r.list[:last]
	*r.where(t) = -1
	return t
}

// set puts the tenant in, moves it to where its counter belongs, or takes it
// out.
func (r *ranking[T]) set(t *tenant[T], in bool) {
	switch at := *r.where(t); {
	case in && at < 0:
		heap.Push(r, t)
	case in:
		heap.Fix(r, at)
	case at >= 0:
		heap.Remove(r, at)
	}
}

// first returns the tenant with the least counter, or nil.
func (r *ranking[T]) first() *tenant[T] {
	if len(r.list) == 0 {
		return nil
	}
	return r.list[0]
}
