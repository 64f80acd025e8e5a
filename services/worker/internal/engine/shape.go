package engine

import (
	"bytes"
	"sync"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/jsonwalk"
)

// shape is how an engine's chunks are that follow at once: each is the one before but for
// the text that the model said and the counts after it, and need not be looked over to be
// passed on without these.
type shape struct {
	// before is what comes before the text, up to its quote; between what comes from the
	// text's end to the counts; after what comes behind them.
	before, between, after []byte
	leaves                 jsonwalk.Alike
}

// read returns the text, as it is written, and the counts of a chunk of the shape.
func (s *shape) read(data []byte) (said, usage []byte, ok bool) {
	if !bytes.HasPrefix(data, s.before) {
		return nil, nil, false
	}
	end := jsonwalk.StringEnd(data, len(s.before)-1)
	if end < 0 || !bytes.HasPrefix(data[end:], s.between) {
		return nil, nil, false
	}
	counts := data[end+len(s.between):]
	if !bytes.HasSuffix(counts, s.after) {
		return nil, nil, false
	}
	said = data[len(s.before) : end-1]
	return said, counts[:len(counts)-len(s.after)], utf8.Valid(said)
}

// learn takes a chunk that was passed on as out, and reports whether others can be told by
// it: one that says a text and then the usage, of which the caller is not told.
func (s *shape) learn(c *chunk, out []byte) bool {
	// In valid JSON these bytes are only where a member has that name and a text.
	const member = `"content":"`
	at := bytes.Index(c.choices.Of(c.data), []byte(member))
	if at < 0 || c.usage.Start < c.choices.End || c.timings.Found() || !jsonwalk.Strict(c.data) {
		return false
	}
	quote := c.choices.Value + at + len(member) - 1
	end := jsonwalk.StringEnd(c.data, quote)
	if end < 0 || !s.leaves.Learn(out, quote) { // what comes before the usage leaves as it came
		return false
	}
	s.before = append(s.before[:0], c.data[:quote+1]...)
	s.between = append(s.between[:0], c.data[end:c.usage.Value]...)
	s.after = append(s.after[:0], c.data[c.usage.End:]...)
	return true
}

// shapes are the shapes that streams used, for their memory.
type shapes struct{ pool sync.Pool }

func (p *shapes) take() *shape {
	if s, ok := p.pool.Get().(*shape); ok {
		return s
	}
	return new(shape)
}

// burst is what is known of the chunks of a stream that have come together.
type burst struct {
	kept  *shapes
	n     int    // chunks that were inspected
	shape *shape // nil: none is known
}

// Those that come as they are generated have the time to be looked over, and those that
// all differ are not learned one after the other.
const learnedFrom, learnedTo = 3, 6

// maxShape is the largest chunk, in bytes, that is learned: what it takes is kept.
const maxShape = 4 << 10

// learn takes a chunk that was passed on as out.
func (b *burst) learn(c *chunk, out []byte) {
	if b.n++; b.n < learnedFrom || b.n > learnedTo || b.kept == nil || len(c.data) > maxShape {
		return
	}
	if b.shape == nil {
		b.shape = b.kept.take()
	}
	if !b.shape.learn(c, out) {
		b.drop()
	}
}

// end is called when no further chunk has come.
func (b *burst) end() {
	b.n = 0
	b.drop()
}

func (b *burst) drop() {
	if b.shape != nil {
		b.kept.pool.Put(b.shape)
		b.shape = nil
	}
}

// again passes on a chunk that has the shape of the one before, as inspect would. When ok
// is false it has to be inspected.
func (s *stream) again(data []byte) (out []byte, ok bool) {
	sh := s.burst.shape
	if sh == nil {
		return nil, false
	}
	said, usage, ok := sh.read(data)
	if !ok {
		return nil, false
	}
	u, told, ok := plainUsage(usage)
	if !ok || !s.meter.take(u, told, false, delta{}) {
		return nil, false
	}
	if s.meter.hold(); s.meter.odd {
		return nil, false
	}
	return s.room.keep(sh.leaves.Append(s.room.of(len(data)), said)), true
}
