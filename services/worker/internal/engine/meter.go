package engine

import (
	"math"
	"strconv"

	"github.com/poterne/poterne/pkg/jsonwalk"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// runningUsage is how an engine tells the counts in every chunk of a stream.
type runningUsage int

const (
	// tellsAtEnd: it tells them with the last chunk only.
	tellsAtEnd runningUsage = iota
	// tellsUsage: `stream_options.continuous_usage_stats`, as of vLLM and SGLang.
	// A chunk's `usage` counts the prompt and the chunk's own choice.
	tellsUsage
	// tellsTimings: `timings_per_token`, as of llama-server. A chunk's `timings`
	// counts the prompt in two parts, and the chunk's own choice.
	tellsTimings
)

// meter keeps a stream's counts. What it knows is what the engine told with the
// chunks read so far.
type meter struct {
	usage  commonv1.TokenUsage
	limits limits
	// odd says that the chunk read last told what cannot be.
	odd bool
	// told says that the engine tells counts, so that parts need not be counted.
	told bool
	// first and others are the tokens of the choices, as told.
	first  int32
	others map[int]int32
}

// maxMetered bounds the choices that are told apart, as OpenAI does their number.
const maxMetered = 128

// read takes what the chunk tells. It reports whether the counts changed.
func (m *meter) read(c *chunk, bare bool, d delta, parts int) bool {
	told := false
	m.odd = false
	if c.has(c.timings) {
		told = m.timings(c.timings.Of(c.data), bare, d)
	}
	if c.has(c.usage) {
		told = m.usageOf(c.usage.Of(c.data), bare, d) || told
	}
	switch {
	case told:
		m.told = true
		m.hold()
		m.usage.Estimated = false
	case !m.told && parts > 0:
		m.usage.Estimated = true
		m.usage.CompletionTokens = add(m.usage.GetCompletionTokens(), int32(parts))
	default:
		return false
	}
	return true
}

// timings reads llama-server's: of the prompt what was in the cache and what was
// not, and the tokens of this choice.
func (m *meter) timings(text []byte, bare bool, d delta) bool {
	var cached, prompt, predicted int32
	found := false
	w := jsonwalk.NewWalk(text)
	for {
		name, at, more := w.Next()
		if !more {
			break
		}
		switch string(name) {
		case "cache_n":
			cached = readCount(at.Of(text))
		case "prompt_n":
			prompt = readCount(at.Of(text))
		case "predicted_n":
			predicted, found = readCount(at.Of(text)), true
		}
	}
	if !found || bare {
		return false // beside it is the usage, which says the same
	}
	m.usage.PromptTokens, m.usage.CachedPromptTokens = add(cached, prompt), cached
	m.choice(d.index, predicted)
	return true
}

// usageOf reads OpenAI's usage: of this choice in a chunk that has one, of the
// whole answer in one that has none.
func (m *meter) usageOf(text []byte, bare bool, d delta) bool {
	u, told := readUsage(text)
	return m.take(u, told, bare, d)
}

// take takes the counts that were read, if any were told, and reports whether.
func (m *meter) take(u counts, told, bare bool, d delta) bool {
	m.limits.hold(&u)
	m.odd = u.odd
	if !told {
		return false
	}
	m.usage.PromptTokens = u.prompt
	if u.cached > 0 {
		m.usage.CachedPromptTokens = u.cached
	}
	// Of thoughts and sound an engine tells with the whole answer's.
	m.usage.AudioPromptTokens = max(m.usage.GetAudioPromptTokens(), u.audioPrompt)
	m.usage.ReasoningTokens = max(m.usage.GetReasoningTokens(), u.reasoning)
	m.usage.AudioCompletionTokens = max(m.usage.GetAudioCompletionTokens(), u.audioCompletion)
	switch {
	case !bare:
		m.choice(d.index, u.completion)
	case len(m.others) > 0:
		// Some engines send one for each choice.
		m.usage.CompletionTokens = max(m.usage.GetCompletionTokens(), u.completion)
	default:
		m.usage.CompletionTokens = u.completion
	}
	return true
}

// hold bounds the tokens of all choices together.
func (m *meter) hold() {
	bound(&m.usage)
	if m.limits != (limits{}) && (m.usage.GetCompletionTokens() > m.limits.completion || m.usage.GetPromptTokens() > m.limits.prompt) {
		m.odd = true
		m.usage.CompletionTokens = min(m.usage.GetCompletionTokens(), m.limits.completion)
		m.usage.PromptTokens = min(m.usage.GetPromptTokens(), m.limits.prompt)
		bound(&m.usage)
	}
}

// choice notes how many tokens a choice has by now.
func (m *meter) choice(index int, tokens int32) {
	if index == 0 {
		m.first = tokens
	} else if _, known := m.others[index]; known || len(m.others) < maxMetered {
		if m.others == nil {
			m.others = make(map[int]int32)
		}
		m.others[index] = tokens
	}
	total := m.first
	for _, n := range m.others {
		total = add(total, n)
	}
	m.usage.CompletionTokens = total
}

// readCount reads a number of tokens; what is missing or odd counts as 0.
func readCount(value []byte) int32 {
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			f, err := strconv.ParseFloat(string(value), 64)
			if err != nil || math.IsNaN(f) {
				return 0
			}
			return count(f)
		}
		if n = n*10 + int64(c-'0'); n > math.MaxInt32 {
			return math.MaxInt32
		}
	}
	return int32(n)
}

func add(a, b int32) int32 { return int32(min(int64(a)+int64(b), math.MaxInt32)) }
