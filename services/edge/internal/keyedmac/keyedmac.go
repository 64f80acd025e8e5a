// Package keyedmac signs many short texts under one key. It knows no key and no text.
// Start reading at Key.
package keyedmac

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// Size is the length of a sum, in bytes.
const Size = sha256.Size

// Key makes sums of HMAC-SHA-256 (RFC 2104) under one key. What is derived of that for
// each of them is kept from one to the next. It is safe for concurrent use.
type Key struct {
	first hash.Cloner // has the key, and is never written to
	free  sync.Pool   // of *Mac
}

// New returns a Key. It keeps no reference to key, which may have any length.
func New(key []byte) *Key {
	first := hmac.New(sha256.New, key)
	first.Reset()                           // derives the states that clones have
	return &Key{first: first.(hash.Cloner)} //nolint:errcheck,forcetypeassert // every hash of the standard library is one
}

// Mac is a text that is being signed. It is used by one goroutine.
type Mac struct {
	key  *Key
	hash hash.Hash
	text []byte
	sum  [Size]byte
}

// Begin returns an empty text, which Append or AppendHex must end, once.
func (k *Key) Begin() *Mac {
	if m, ok := k.free.Get().(*Mac); ok {
		return m
	}
	clone, _ := k.first.Clone() // of SHA-256 that never fails
	return &Mac{key: k, hash: clone}
}

// Add adds b to the text.
func (m *Mac) Add(b []byte) { m.text = append(m.text, b...) }

// AddString adds s to the text.
func (m *Mac) AddString(s string) { m.text = append(m.text, s...) }

// Append ends the text, and adds its sum to dst.
func (m *Mac) Append(dst []byte) []byte {
	dst = append(dst, m.end()...)
	m.leave()
	return dst
}

// AppendHex is Append in hexadecimal.
func (m *Mac) AppendHex(dst []byte) []byte {
	dst = hex.AppendEncode(dst, m.end())
	m.leave()
	return dst
}

func (m *Mac) end() []byte {
	m.hash.Reset()
	m.hash.Write(m.text)
	return m.hash.Sum(m.sum[:0])
}

// leave gives m back to its key. The text may be a secret, so it is not kept.
func (m *Mac) leave() {
	clear(m.text)
	m.text = m.text[:0]
	if cap(m.text) > maxKept {
		m.text = nil
	}
	m.key.free.Put(m)
}

// maxKept bounds the room that is kept for the next text, in bytes.
const maxKept = 4 << 10
