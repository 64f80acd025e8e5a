// Package vectortest makes vectors that lie as those of embedding models do,
// for tests and benchmarks of what finds them: in a narrow cone, around
// topics, and in far fewer directions than they have dimensions. Independent
// noise has nothing near anything, and no text is like that. Start reading at
// Model.
package vectortest

import "math/rand/v2"

const (
	directions = 32  // in which vectors differ
	topics     = 300 // around which they lie
	spread     = 0.7 // within a topic, beside 1 between topics
	cone       = 10  // how far all lie from the origin, beside the former
)

// Model makes vectors. It is not safe for concurrent use.
type Model struct {
	rng    *rand.Rand
	basis  [directions][]float32
	offset []float32
	topics [topics][directions]float32
}

// New returns a model of that width; what it makes depends on rng alone.
func New(rng *rand.Rand, width int) *Model {
	m := &Model{rng: rng, offset: Noise(rng, width)}
	for i := range m.basis {
		m.basis[i] = Noise(rng, width)
	}
	for i := range m.topics {
		copy(m.topics[i][:], Noise(rng, directions))
	}
	return m
}

// Next returns a vector of some topic.
func (m *Model) Next() []float32 { return m.About(m.rng.IntN(topics)) }

// About returns a vector of one topic.
func (m *Model) About(topic int) []float32 {
	v := make([]float32, len(m.offset))
	for i, x := range m.offset {
		v[i] = cone * x
	}
	for i, x := range m.topics[topic%topics] {
		x += spread * float32(m.rng.NormFloat64())
		for j, b := range m.basis[i] {
			v[j] += x * b
		}
	}
	return v
}

// Noise returns a vector of independent values.
func Noise(rng *rand.Rand, width int) []float32 {
	v := make([]float32, width)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}
