package openai

import (
	"bytes"
	"sync"

	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/jsonwalk"
)

// alike is how one chunk of an answer came and how it leaves: most chunks that follow at
// once are that one but for the text that the model said, and need not be looked over.
type alike struct{ came, leaves jsonwalk.Alike }

// What comes piece by piece, as it is generated, has the time to be looked over and need
// not hold memory for less of it, and chunks that all differ are not learned one after the
// other.
const learnedFrom, learnedTo = 3, 6

// maxAlike is the largest chunk, in bytes, that is learned: what it takes is kept.
const maxAlike = 4 << 10

// burst is the chunks of an answer that have come together.
type burst struct {
	direct *inproc.Direct
	kept   *sync.Pool // of *alike
	n      int        // chunks that were looked over
	alike  *alike     // nil: none is known
}

// next notes that a chunk is to be spliced.
func (b *burst) next() {
	if !b.direct.Held() {
		b.end()
	}
}

// end lets go of what was learned.
func (b *burst) end() {
	b.n = 0
	b.drop()
}

func (b *burst) drop() {
	if b.alike != nil {
		b.kept.Put(b.alike)
		b.alike = nil
	}
}

// splice adds to text the text of a chunk that is as the one that was learned.
func (b *burst) splice(text, raw []byte) ([]byte, bool) {
	if b.alike == nil {
		return text, false
	}
	said, ok := b.alike.came.String(raw)
	if !ok {
		return text, false
	}
	return b.alike.leaves.Append(text, said), true
}

// learn takes a chunk that was spliced: its choices begin in raw at came, and in text at
// leaves. They are copied as they came, and but for its first byte no text of theirs
// decides on how.
func (b *burst) learn(raw []byte, came int, text []byte, leaves int) {
	if b.n++; b.n < learnedFrom || b.n > learnedTo || len(raw) > maxAlike || !b.direct.Held() {
		return
	}
	if b.alike == nil {
		b.alike, _ = b.kept.Get().(*alike)
		if b.alike == nil {
			b.alike = new(alike)
		}
	}
	// In valid JSON these bytes are only where a member has that name and a text.
	const said = `"content":"`
	in, out := bytes.Index(raw[came:], []byte(said)), bytes.Index(text[leaves:], []byte(said))
	quote := len(said) - 1
	if in < 0 || out < 0 || !b.alike.came.Learn(raw, came+in+quote) || !b.alike.leaves.Learn(text, leaves+out+quote) {
		b.drop()
	}
}
