// Package ids makes identifiers. Code that needs one is given a Source, so
// that a test knows which identifiers come out.
package ids

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
)

// Source makes identifiers that are never given twice. Implementations are
// safe for use by several goroutines at once.
type Source interface {
	// New returns an identifier of 1 to 64 characters of [A-Za-z0-9._-].
	New() string
}

// UUIDv7 returns a source of random identifiers that sort by time (RFC 9562,
// section 5.7).
func UUIDv7() Source { return &uuidSource{random: bufio.NewReaderSize(rand.Reader, atOnce)} }

// atOnce is how many random bytes are asked of the system at once: 32 identifiers' worth.
const atOnce = 512

type uuidSource struct {
	mu     sync.Mutex
	random *bufio.Reader
}

// New falls back to version 4, which panics rather than repeat itself when the
// system has no randomness to give.
func (s *uuidSource) New() string {
	s.mu.Lock()
	id, err := uuid.NewV7FromReader(s.random)
	s.mu.Unlock()
	if err != nil {
		return uuid.NewString()
	}
	return id.String()
}

// Sequence returns a source for tests: prefix-1, prefix-2 and so on.
func Sequence(prefix string) Source { return &sequence{prefix: prefix} }

type sequence struct {
	prefix string
	n      atomic.Int64
}

func (s *sequence) New() string { return fmt.Sprintf("%s-%d", s.prefix, s.n.Add(1)) }
