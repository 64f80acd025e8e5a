package respcache

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
)

// sealer makes what is kept where others can read and write it: nobody without the
// deployment's key can read an answer there, or put one of their own in its place,
// or another's, or an answer that was kept under another key.
type sealer struct {
	secret []byte
	// max bounds what is read, in bytes.
	max int
}

// compressFrom is from what size an entry is compressed, in bytes.
const compressFrom = 1024

// The first byte of what is sealed.
const (
	plainly    = 0
	compressed = 1
)

// derive returns a key of the deployment's for one purpose and answer.
func (s *sealer) derive(purpose string, k Key) []byte {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(purpose)) // of one length
	h.Write(k[:])
	return h.Sum(nil)
}

// name is under what an answer is kept: whoever can read the names of all cannot
// tell whether a question was asked.
func (s *sealer) name(k Key) string {
	return "poterne:cache:" + base64.RawURLEncoding.EncodeToString(s.derive("name", k)[:24])
}

// claim is under what the work on an answer is claimed.
func (s *sealer) claim(k Key) string {
	return "poterne:cache:claim:" + base64.RawURLEncoding.EncodeToString(s.derive("lock", k)[:24])
}

// aead is AES-256-GCM under a key of the answer's own: with a random nonce for each
// writing, none is ever used often.
func (s *sealer) aead(k Key) (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.derive("seal", k))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (s *sealer) seal(k Key, data []byte) ([]byte, error) {
	a, err := s.aead(k)
	if err != nil {
		return nil, err
	}
	body := append(make([]byte, 0, len(data)+1), plainly)
	if len(data) >= compressFrom {
		var out bytes.Buffer
		out.WriteByte(compressed)
		w, err := flate.NewWriter(&out, flate.BestSpeed)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		if out.Len() < len(data) {
			return a.Seal(nil, nil, out.Bytes(), k[:]), nil //nolint:gosec // it makes its own nonce
		}
	}
	return a.Seal(nil, nil, append(body, data...), k[:]), nil //nolint:gosec // the same
}

// open returns errDamaged for whatever seal has not made for this key.
func (s *sealer) open(k Key, sealed []byte) ([]byte, error) {
	a, err := s.aead(k)
	if err != nil {
		return nil, err
	}
	body, err := a.Open(nil, nil, sealed, k[:])
	if err != nil || len(body) == 0 {
		return nil, errDamaged
	}
	if body[0] == plainly {
		return body[1:], nil
	}
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(body[1:])), int64(s.max)+1))
	if err != nil || len(out) > s.max {
		return nil, errDamaged
	}
	return out, nil
}
