// Package jose verifies signed tokens (JWS compact serialisation, RFC 7515; JWT,
// RFC 7519) by keys from JWK sets (RFC 7517), and signs them. It is strict: what
// can be written in two ways is accepted in one, what a verifier would have to
// ignore is refused, and a key verifies nothing but what it says it is for. It
// fetches nothing. Start reading at Parse and ParseKeySet.
package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"math/big"
	"slices"
)

// Algorithm is a signature algorithm by its registered name (RFC 7518, RFC 8037,
// RFC 9864). `none` is not among them.
type Algorithm string

// The algorithms.
const (
	RS256   Algorithm = "RS256"
	RS384   Algorithm = "RS384"
	RS512   Algorithm = "RS512"
	PS256   Algorithm = "PS256"
	PS384   Algorithm = "PS384"
	PS512   Algorithm = "PS512"
	ES256   Algorithm = "ES256"
	ES384   Algorithm = "ES384"
	ES512   Algorithm = "ES512"
	EdDSA   Algorithm = "EdDSA"
	Ed25519 Algorithm = "Ed25519"
	HS256   Algorithm = "HS256"
	HS384   Algorithm = "HS384"
	HS512   Algorithm = "HS512"
)

// family is how an algorithm computes.
type family int

const (
	unknown family = iota
	pkcs1
	pss
	ellipticCurve
	edwards
	secret
)

// family returns how the algorithm computes, and by which hash.
func (a Algorithm) family() (family, crypto.Hash) {
	switch a {
	case RS256:
		return pkcs1, crypto.SHA256
	case RS384:
		return pkcs1, crypto.SHA384
	case RS512:
		return pkcs1, crypto.SHA512
	case PS256:
		return pss, crypto.SHA256
	case PS384:
		return pss, crypto.SHA384
	case PS512:
		return pss, crypto.SHA512
	case ES256:
		return ellipticCurve, crypto.SHA256
	case ES384:
		return ellipticCurve, crypto.SHA384
	case ES512:
		return ellipticCurve, crypto.SHA512
	case EdDSA, Ed25519:
		return edwards, 0
	case HS256:
		return secret, crypto.SHA256
	case HS384:
		return secret, crypto.SHA384
	case HS512:
		return secret, crypto.SHA512
	default:
		return unknown, 0
	}
}

// Known reports whether the algorithm can be verified here.
func (a Algorithm) Known() bool {
	f, _ := a.family()
	return f != unknown
}

// Symmetric reports whether who can verify can also sign.
func (a Algorithm) Symmetric() bool {
	f, _ := a.family()
	return f == secret
}

// algorithmsOf returns what a key can verify, by its kind and size alone.
func algorithmsOf(key any) []Algorithm {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512}
	case *ecdsa.PublicKey:
		// Each curve has one hash (RFC 7518, section 3.4).
		switch key.Curve.Params().BitSize {
		case 256:
			return []Algorithm{ES256}
		case 384:
			return []Algorithm{ES384}
		default:
			return []Algorithm{ES512}
		}
	case ed25519.PublicKey:
		return []Algorithm{EdDSA, Ed25519}
	case []byte:
		// A secret is at least as long as the hash (RFC 7518, section 3.2).
		return slices.DeleteFunc([]Algorithm{HS256, HS384, HS512}, func(a Algorithm) bool {
			_, h := a.family()
			return len(key) < h.Size()
		})
	default:
		return nil
	}
}

// verify reports whether signature is the key's over signed. The key must be of
// the algorithm's family.
func verify(key any, a Algorithm, signed, signature []byte) bool {
	f, hash := a.family()
	var digest []byte
	if hash != 0 && f != secret {
		h := hash.New()
		h.Write(signed)
		digest = h.Sum(nil)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if len(signature) != key.Size() {
			return false
		}
		if f == pkcs1 {
			return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
		}
		return f == pss && rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case *ecdsa.PublicKey:
		size := coordinateSize(key.Curve.Params().BitSize)
		if f != ellipticCurve || len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key, digest, r, s)
	case ed25519.PublicKey:
		return f == edwards && ed25519.Verify(key, signed, signature)
	case []byte:
		if f != secret {
			return false
		}
		mac := hmac.New(hash.New, key)
		mac.Write(signed)
		return hmac.Equal(mac.Sum(nil), signature)
	default:
		return false
	}
}

// coordinateSize is how many bytes a number of so many bits takes.
func coordinateSize(bits int) int { return (bits + 7) / 8 }
