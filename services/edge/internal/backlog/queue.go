// Package backlog keeps what was taken and is not written yet, for writers that take one
// thing with each request. Start reading at Queue.
package backlog

// Queue is values in their order. What goes through it costs no memory of its own: two
// lists take turns. The zero value is empty. Its user sees to it that only one goroutine
// calls it at a time.
type Queue[T any] struct {
	list, spare []T
}

// maxKept is how many values the list that is spare has room for at most: a queue that
// was long gives its memory back.
const maxKept = 1024

// Len is how many there are.
func (q *Queue[T]) Len() int { return len(q.list) }

// Append adds a value, and returns its place, which is the queue's as soon as the next
// call is made.
func (q *Queue[T]) Append(v *T) *T {
	q.list = append(q.list, *v)
	return &q.list[len(q.list)-1]
}

// First returns the oldest values, at most n. They stay as they are until Remove, whatever
// is appended meanwhile, and must only be read.
func (q *Queue[T]) First(n int) []T {
	n = min(n, len(q.list))
	return q.list[:n:n]
}

// Remove takes the n oldest values out. What First returned must not be used any more.
func (q *Queue[T]) Remove(n int) {
	done := q.list
	q.list = q.spare[:0]
	q.list = append(q.list, done[n:]...)
	if q.spare = nil; cap(done) <= maxKept {
		clear(done) // so that what they refer to can be freed
		q.spare = done
	}
}
