package prefix

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

const (
	// BlockBytes is the size of a block of the prompt: about 64 tokens. vLLM's
	// blocks have 16 tokens; larger ones cost less and lose half of one at most.
	BlockBytes = 256
	// BytesPerToken is what a token stands for until more is known of a model.
	BytesPerToken = 4
	// MaxBlocks bounds a chain: what comes behind 64 KiB of prompt is served
	// where that is.
	MaxBlocks = 256
)

// Chain is the hashes of a prompt's whole blocks, each over the one before and
// its own bytes, so that equal hashes mean equal beginnings. This is how vLLM
// names the blocks of its cache ("Automatic Prefix Caching" in its design
// documents) and how llm-d's scheduler guesses at it; theirs are over tokens,
// these over the JSON text, which needs no tokeniser.
type Chain []uint64

// ChainOf appends the prompt's chain to room, which may be nil. version keeps
// versions apart; the same prompt has the same chain on every replica.
func ChainOf(room Chain, version string, p Prompt) Chain {
	out := room[:0]
	var d digest
	d.begin(version, p.Salt)
	for _, part := range [][]byte{p.Tools, p.Text} {
		for len(part) > 0 && len(out) < MaxBlocks {
			n := min(len(part), BlockBytes-d.n)
			copy(d.block[8+d.n:], part[:n])
			d.n += n
			part = part[n:]
			if d.n == BlockBytes {
				out = append(out, d.next())
			}
		}
	}
	return out
}

// digest is a chain in the making: a block behind the hash before it.
type digest struct {
	block [8 + BlockBytes]byte
	n     int
}

func (d *digest) begin(version string, salt []byte) {
	h := xxhash.Sum64String(version)
	if len(salt) > 0 {
		h ^= xxhash.Sum64(salt)
	}
	binary.LittleEndian.PutUint64(d.block[:], h)
}

func (d *digest) next() uint64 {
	h := xxhash.Sum64(d.block[:])
	binary.LittleEndian.PutUint64(d.block[:], h)
	d.n = 0
	return h
}

// Bytes is the size of what the engine reads.
func (p Prompt) Bytes() int { return len(p.Tools) + len(p.Text) }
