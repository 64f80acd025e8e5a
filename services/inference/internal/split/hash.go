package split

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
	"sync"
)

// hasher is SHA-256 of which the first 8 bytes are wanted. It pads the message
// itself (FIPS 180-4, 5.1.1) and reads the state after the last block: Sum256 makes
// a state for each message, and pads and copies it again, which costs as much as
// one more block.
type hasher struct {
	hash  hash.Hash
	saver encoding.BinaryAppender
	block [512]byte
	state [128]byte
}

const (
	blockSize = 64
	// magic is how many bytes stand before the state's words.
	magic = 4
	// lengthSize is how many bytes say at the end how long the message is.
	lengthSize = 8
)

// hashers are kept between decisions, so that a decision allocates nothing. It is
// for the whole process since what it holds says nothing once it was read.
var hashers = sync.Pool{New: func() any {
	h := sha256.New()
	saver, _ := h.(encoding.BinaryAppender)
	return &hasher{hash: h, saver: saver}
}}

// first returns the first 8 bytes, big endian, of SHA-256(salt || 0x00 || key).
func first(salt, key string) uint64 {
	h, _ := hashers.Get().(*hasher)
	n := len(salt) + 1 + len(key)
	end := (n + 1 + lengthSize + blockSize - 1) / blockSize * blockSize
	if h == nil || h.saver == nil || end > len(h.block) {
		sum := sha256.Sum256([]byte(salt + "\x00" + key))
		return binary.BigEndian.Uint64(sum[:])
	}
	copy(h.block[:], salt)
	h.block[len(salt)] = 0
	copy(h.block[len(salt)+1:], key)
	h.block[n] = 0x80
	clear(h.block[n+1 : end-lengthSize])
	binary.BigEndian.PutUint64(h.block[end-lengthSize:], uint64(n)*8)
	h.hash.Reset()
	_, _ = h.hash.Write(h.block[:end])
	state, _ := h.saver.AppendBinary(h.state[:0])
	out := binary.BigEndian.Uint64(state[magic:])
	hashers.Put(h)
	return out
}
