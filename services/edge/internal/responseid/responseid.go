// Package responseid makes the ids of answers. An id says which version and arm
// made the answer, and a signature that covers the caller too says that it is true
// and whose answer it was: a verdict on an answer needs no table of answers. An id
// holds no name of a tenant or subject. Begin with Signer.
package responseid

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/keyedmac"
	"github.com/poterne/poterne/services/edge/internal/sharedsecret"
)

// ErrUnknown is returned for an id that was not made for this caller.
var ErrUnknown = errors.New("there is no such response")

// Served is what made an answer.
type Served struct {
	Model, Experiment, Arm string
	Version                int32
	// Record is the id of the request's audit record, a UUID; empty, and of an id from
	// before ids said that: not known.
	Record string
}

// The form of an id, after its prefix, in base64url: the form's number, seconds
// since 1970 in 5 bytes, 8 bytes of chance, the version as a varint, the three names
// with their lengths before them, and 16 bytes of HMAC-SHA-256 over all before and
// the caller. The second form has the 16 bytes of the record's id after the chance.
const (
	form      = 1
	formOf    = 2 // says of which record it is
	headBytes = 1 + 5 + 8
	macBytes  = 16
	maxName   = 128
)

// Signer makes ids and reads them. It is safe for concurrent use.
type Signer struct{ key *keyedmac.Key }

// New returns a signer with a key of at least 32 bytes.
func New(key []byte) *Signer { return &Signer{keyedmac.New(key)} }

// secretName is the row that holds the key.
const secretName = "response-id"

// Load returns a signer with the key that all replicas on db share, made from
// random by the first one.
func Load(ctx context.Context, db *sqldb.DB, random io.Reader) (*Signer, error) {
	key, err := sharedsecret.Load(ctx, db, random, secretName)
	if err != nil {
		return nil, fmt.Errorf("responseid: %w", err)
	}
	return New(key), nil
}

// Make returns the id of an answer that the caller gets now.
func (s *Signer) Make(prefix string, caller identity.Caller, by Served, now time.Time) string {
	var room [256]byte // for most
	raw := room[:headBytes]
	var seconds [8]byte
	binary.BigEndian.PutUint64(seconds[:], uint64(now.Unix()))
	raw[0] = form
	copy(raw[1:6], seconds[3:])
	binary.BigEndian.PutUint64(raw[6:], rand.Uint64()) //nolint:gosec // an id need not be secret, only different
	if record, err := uuid.Parse(by.Record); err == nil {
		raw[0] = formOf
		raw = append(raw, record[:]...)
	}
	raw = binary.AppendUvarint(raw, uint64(by.Version))
	for _, name := range [3]string{by.Model, by.Experiment, by.Arm} {
		name = name[:min(len(name), maxName)]
		raw = append(raw, byte(len(name)))
		raw = append(raw, name...)
	}
	var mac [keyedmac.Size]byte
	raw = append(raw, s.mac(mac[:0], raw, caller)[:macBytes]...)
	var written [384]byte
	return string(base64.RawURLEncoding.AppendEncode(append(written[:0], prefix...), raw))
}

// Answer is what an id says.
type Answer struct {
	Served
	// Key names the answer: it is the same however its id is written. What stands
	// before the hyphen of an id is not signed, and base64 passes over line ends, so
	// one answer has any number of ids.
	Key string
	// Made is when the answer was.
	Made time.Time
}

// Read returns what the id says if it was made for the caller; ErrUnknown
// otherwise.
func (s *Signer) Read(id string, caller identity.Caller) (Answer, error) {
	raw, ok := decode(id)
	if !ok {
		return Answer{}, ErrUnknown
	}
	body, mac := raw[:len(raw)-macBytes], raw[len(raw)-macBytes:]
	if want := s.mac(nil, body, caller); !hmac.Equal(mac, want[:macBytes]) {
		return Answer{}, ErrUnknown
	}
	var seconds [8]byte
	copy(seconds[3:], body[1:6])
	made := time.Unix(int64(binary.BigEndian.Uint64(seconds[:])), 0)
	rest, record := body[headBytes:], ""
	if raw[0] == formOf {
		record, rest = uuid.UUID(rest[:len(uuid.UUID{})]).String(), rest[len(uuid.UUID{}):]
	}
	by, err := readServed(rest)
	by.Record = record
	return Answer{Served: by, Key: base64.RawURLEncoding.EncodeToString(raw), Made: made}, err
}

func decode(id string) ([]byte, bool) {
	_, text, ok := strings.Cut(id, "-")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(raw) == 0 {
		return nil, false
	}
	shortest := headBytes + 4 + macBytes
	if raw[0] == formOf {
		shortest += len(uuid.UUID{})
	}
	return raw, len(raw) >= shortest && (raw[0] == form || raw[0] == formOf)
}

// Record returns the id of the audit record that an id names. Whether the id is true
// is not looked at: whoever uses it must decide by the record whose it is.
func Record(id string) (string, bool) {
	raw, ok := decode(id)
	if !ok || raw[0] != formOf {
		return "", false
	}
	return uuid.UUID(raw[headBytes : headBytes+len(uuid.UUID{})]).String(), true
}

func readServed(rest []byte) (by Served, err error) {
	version, n := binary.Uvarint(rest)
	if n <= 0 || version > 1<<31-1 {
		return by, ErrUnknown
	}
	by.Version = int32(version)
	rest = rest[n:]
	for _, name := range []*string{&by.Model, &by.Experiment, &by.Arm} {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return by, ErrUnknown
		}
		*name = string(rest[1 : 1+rest[0]])
		rest = rest[1+rest[0]:]
	}
	if len(rest) > 0 {
		return by, ErrUnknown
	}
	return by, nil
}

// mac adds to dst what signs the bytes and the caller, whose names cannot run into
// each other.
func (s *Signer) mac(dst, body []byte, caller identity.Caller) []byte {
	m := s.key.Begin()
	var n [8]byte
	for _, part := range [2]string{caller.Tenant, caller.Subject} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		m.Add(n[:])
		m.AddString(part)
	}
	m.Add(body)
	return m.Append(dst)
}
