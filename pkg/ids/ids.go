// Package ids makes identifiers. Code that needs one is given a Source, so
// that a test knows which identifiers come out.
package ids

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Source makes identifiers that are never given twice. Implementations are
// safe for use by several goroutines at once.
type Source interface {
	// New returns an identifier of 1 to 64 characters of [A-Za-z0-9._-].
	New() string
}

// UUIDv7 returns a source of random identifiers that sort by time (RFC 9562,
// section 5.7), and each after all that the source gave before.
func UUIDv7() Source { return &uuidSource{blocks: sync.Pool{New: func() any { return newBlock() }}} }

// blockBytes is how many random bytes are asked of the system at once: 64 identifiers'
// worth.
const blockBytes = 512

// block is random bytes, of which those before used are used.
type block struct {
	bytes [blockBytes]byte
	used  int
}

func newBlock() *block { return &block{used: blockBytes} }

// take returns bytes that nobody had. The system gives them, or ends the process
// (crypto/rand).
func (b *block) take(n int) []byte {
	if b.used+n > len(b.bytes) {
		_, _ = rand.Read(b.bytes[:])
		b.used = 0
	}
	b.used += n
	return b.bytes[b.used-n : b.used]
}

type uuidSource struct {
	last   atomic.Int64 // time that was given
	blocks sync.Pool    // of *block: who asks at the same moment has one each
}

// New returns the next identifier.
func (s *uuidSource) New() string {
	var id uuid.UUID
	b := s.blocks.Get().(*block) //nolint:errcheck // nothing else is there
	copy(id[8:], b.take(8))
	s.blocks.Put(b)
	id[8] = id[8]&0x3f | 0x80 // the variant of RFC 9562
	at := s.time()
	binary.BigEndian.PutUint64(id[:8], uint64(at>>12)<<16|0x7000|uint64(at)&0xfff)
	return id.String()
}

// time returns milliseconds and, in the 12 bits below, how much of the next one has
// passed, in steps of 256 ns (section 6.2, method 3); always more than before.
func (s *uuidSource) time() int64 {
	now := time.Now() //nolint:forbidigo // identifiers sort by the machine's clock
	at := now.UnixMilli()<<12 | int64(now.Nanosecond()%int(time.Millisecond))>>8
	for {
		last := s.last.Load()
		if at <= last {
			at = last + 1
		}
		if s.last.CompareAndSwap(last, at) {
			return at
		}
	}
}

// Sequence returns a source for tests: prefix-1, prefix-2 and so on.
func Sequence(prefix string) Source { return &sequence{prefix: prefix} }

type sequence struct {
	prefix string
	n      atomic.Int64
}

func (s *sequence) New() string { return fmt.Sprintf("%s-%d", s.prefix, s.n.Add(1)) }
