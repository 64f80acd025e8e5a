package possession

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// nonces makes nonces for proofs (RFC 9449, section 8) that need no memory: the
// time, and an HMAC of it by a key that all replicas on one store share, so that
// each accepts those of the others.
type nonces struct {
	key      []byte
	lifetime time.Duration
}

const nonceMACBytes = 16

func (n nonces) make(now time.Time) string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(raw, n.mac(raw)...))
}

// check reports whether a nonce holds, and whether the client should have a newer
// one: when half its time is over.
func (n nonces) check(text string, now time.Time) (holds, ageing bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 8+nonceMACBytes || !hmac.Equal(raw[8:], n.mac(raw[:8])) {
		return false, false
	}
	// Ours, so that the time is one.
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint64(raw)), 0))
	// Another replica's clock may be ahead.
	return age >= -time.Minute && age <= n.lifetime, age > n.lifetime/2
}

func (n nonces) mac(raw []byte) []byte {
	h := hmac.New(sha256.New, n.key)
	h.Write(raw)
	return h.Sum(nil)[:nonceMACBytes]
}
