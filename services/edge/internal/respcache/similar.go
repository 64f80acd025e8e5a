package respcache

import (
	"math"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
)

// The bounds on what is compared: questions of one scope, scopes, and components of
// all vectors together (4 bytes each).
const (
	maxPerScope   = 256
	maxScopes     = 1024
	maxComponents = 16 << 20
)

// similar finds questions that mean nearly the same. Only those of one scope are
// compared: everything else of the requests is the same, whose they are included.
type similar struct {
	mu         sync.Mutex
	scopes     *lru.Cache[Key, *[]question]
	components int
}

// question is one that was answered, with its vector of length 1.
type question struct {
	vector []float32
	key    Key
}

func newSimilar() *similar {
	s := new(similar)
	s.scopes, _ = lru.NewWithEvict(maxScopes, func(_ Key, qs *[]question) { // the size is positive
		for _, q := range *qs {
			s.components -= len(q.vector)
		}
	})
	return s
}

// Remember notes that the answer to a question of a scope is kept under key.
func (c *Cache) Remember(scope Key, vector []float32, key Key) {
	v := unit(vector)
	if v == nil {
		return
	}
	s := c.similar
	s.mu.Lock()
	defer s.mu.Unlock()
	list, ok := s.scopes.Get(scope)
	if !ok {
		list = new([]question)
		s.scopes.Add(scope, list)
	}
	for i, q := range *list {
		if q.key == key {
			s.components += len(v) - len(q.vector)
			(*list)[i].vector = v
			return
		}
	}
	if len(*list) >= maxPerScope { // the oldest goes
		s.components -= len((*list)[0].vector)
		*list = append((*list)[:0], (*list)[1:]...)
	}
	*list = append(*list, question{v, key})
	s.components += len(v)
	for s.components > maxComponents && s.scopes.Len() > 1 {
		s.scopes.RemoveOldest()
	}
}

// Nearest returns the key of the most similar question of a scope, if its cosine
// similarity is at least threshold.
func (c *Cache) Nearest(scope Key, vector []float32, threshold float64) (key Key, similarity float64, ok bool) {
	v := unit(vector)
	if v == nil {
		return key, 0, false
	}
	s := c.similar
	s.mu.Lock()
	defer s.mu.Unlock()
	list, found := s.scopes.Get(scope)
	if !found {
		return key, 0, false
	}
	for _, q := range *list {
		if len(q.vector) != len(v) {
			continue
		}
		var dot float64
		for i, x := range q.vector {
			dot += float64(x) * float64(v[i])
		}
		if dot > similarity || !ok {
			key, similarity, ok = q.key, dot, true
		}
	}
	return key, similarity, ok && similarity >= threshold
}

// unit returns a vector of length 1; nil for one that has no direction.
func unit(v []float32) []float32 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum <= 0 || math.IsNaN(sum) || math.IsInf(sum, 0) {
		return nil
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return out
}
