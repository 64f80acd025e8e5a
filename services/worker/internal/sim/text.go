package sim

import (
	"math"
	"strings"
)

const (
	bytesPerToken    = 4
	tokensPerMessage = 4
)

// TokensOf counts tokens by this engine's rule: four bytes of UTF-8 are one,
// rounded up for each text. A message of a chat takes four more, and each word
// of an answer is one.
func TokensOf(text string) int { return (len(text) + bytesPerToken - 1) / bytesPerToken }

// vocabulary is what answers are made of: short words of plain ASCII, so that
// they need no escaping in JSON.
func vocabulary() []string {
	return strings.Fields(`the a gate wall tower stone bridge river road field light lamp door key lock
		bell clock hill garden harbour sail wind rain cloud star moon night morning winter summer leaf
		branch root seed grain bread salt honey iron copper silver glass paper ink letter map north
		south east west early late slow quiet bright narrow broad deep high old new small open closed
		stands turns waits opens keeps holds carries follows answers remembers crosses returns begins`)
}

// words makes answers. It is read only.
type words struct{ list []string }

func newWords() words { return words{vocabulary()} }

// next returns the k-th token of the answer that state belongs to. The first
// says what this engine is, in every answer.
func (w words) next(state *uint64, k int) string {
	if k == 0 {
		return "[sim]"
	}
	return w.list[splitmix(state)%uint64(len(w.list))]
}

// split divides a completion's prompt into a question and the beginning of the
// answer that this engine gives to it, of so many tokens; most prompts have none.
func (w words) split(prompt string, seed uint64) (question string, beginning int) {
	const first = "[sim]"
	at := strings.LastIndex(prompt, first)
	if at < 0 {
		return prompt, 0
	}
	question = prompt[:at]
	state := stateOf(question, seed)
	for n, word := range strings.Split(prompt[at:], " ") {
		if w.next(&state, n) != word {
			return prompt, 0
		}
		beginning++
	}
	return question, beginning
}

// splitmix is SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
// Number Generators, 2014): small, quick, and the same everywhere.
func splitmix(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

const fnvOffset, fnvPrime = 14695981039346656037, 1099511628211

// hash continues a 64-bit FNV-1a hash (Fowler, Noll, Vo) over text.
func hash(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * fnvPrime
	}
	return h
}

const (
	maxDimensions  = 8192
	featuresByWord = 8
)

// embed returns a vector of length 1 that depends on the words of text alone:
// texts that share words are close. It is the hashing trick (Weinberger et al.,
// Feature Hashing, 2009) with eight signed features for each word.
func embed(text string, dimensions int, seed uint64) []float32 {
	v := make([]float32, dimensions)
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), notWord) {
		state := hash(fnvOffset^seed, word)
		for range featuresByWord {
			r := splitmix(&state)
			sign := float32(1)
			if r>>63 == 1 {
				sign = -1
			}
			v[(r&math.MaxInt64)%uint64(dimensions)] += sign
		}
	}
	normalise(v)
	return v
}

func notWord(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127
	return !letter
}

func normalise(v []float32) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		v[0] = 1
		return
	}
	scale := float32(1 / math.Sqrt(sum))
	for i := range v {
		v[i] *= scale
	}
}
