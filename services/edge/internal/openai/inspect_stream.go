package openai

import (
	"errors"
	"slices"

	"github.com/poterne/poterne/services/edge/internal/inspect"
)

// errFiltered ends a stream of which every answer ended at something that blocks.
var errFiltered = errors.New("openai: the answer is not to go on")

// filter looks at the texts of a stream's chunks, which come piece by piece. A
// nil filter lets everything through. It must not be used by two goroutines at
// once.
type filter struct {
	in      *inspect.Inspection
	choices int // that were asked for
	texts   map[textKey]*inspect.Stream
	ended   map[int32]bool // choices in which something blocked
}

// textKey is one of the texts of an answer.
type textKey struct {
	choice int32
	member string
	call   int32 // of a tool's arguments
}

// The members that are texts.
const (
	memberContent   = "content"
	memberReasoning = "reasoning_content"
	memberRefusal   = "refusal"
	memberArguments = "arguments"
	memberText      = "text"
	// What the gateway does not know begins so.
	memberExtra = "extra."
)

// maxTexts bounds the texts of one stream: what an engine adds has no bound of
// its own.
const maxTexts = 4 * maxChoices

func newFilter(in *inspect.Inspection, choices int32) *filter {
	if in == nil {
		return nil
	}
	return &filter{
		in: in, choices: int(max(choices, 1)), texts: make(map[textKey]*inspect.Stream), ended: make(map[int32]bool),
	}
}

// piece returns what can go on of a text by now, and ends its choice when
// something in it blocks.
func (f *filter) piece(key textKey, piece string) string {
	text, ok := f.texts[key]
	if !ok {
		if len(f.texts) >= maxTexts {
			return f.in.Text(piece)
		}
		text = f.in.Stream()
		f.texts[key] = text
	}
	out := text.Write(piece)
	f.ended[key.choice] = f.ended[key.choice] || text.Blocked()
	return out
}

// rest returns what was held back of a choice's texts, by their keys.
func (f *filter) rest(choice int32) map[textKey]string {
	out := make(map[textKey]string)
	for key, text := range f.texts {
		if key.choice != choice {
			continue
		}
		if tail := text.Close(); tail != "" {
			out[key] = tail
		}
		f.ended[choice] = f.ended[choice] || text.Blocked()
		delete(f.texts, key)
	}
	return out
}

// over reports whether nothing more is to come of any choice.
func (f *filter) over() bool {
	if f == nil {
		return false
	}
	n := 0
	for _, ended := range f.ended {
		if ended {
			n++
		}
	}
	return n >= f.choices
}

// open lists the choices of which something may be held back.
func (f *filter) open() []int32 {
	if f == nil {
		return nil
	}
	var out []int32
	for key := range f.texts {
		if !f.ended[key.choice] && !slices.Contains(out, key.choice) {
			out = append(out, key.choice)
		}
	}
	slices.Sort(out)
	return out
}
