package apikey

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/keyedmac"
)

// Hash is what is stored of a key's secret.
type Hash struct {
	// Sum is in hexadecimal; empty for none.
	Sum string
	// Pepper is the check value of the pepper in it; empty when that was not kept.
	Pepper string
}

// Peppers turns a key into what is stored of it: HMAC-SHA-256 of its text. A slow
// hash would add nothing: with 256 random bits there is nothing to guess. A pepper
// is kept apart from the store, so that somebody who can only write to the store
// cannot make a key that holds. All replicas need the same ones.
//
// The zero value hashes without a pepper.
type Peppers struct {
	all        []pepper // the first is in new hashes
	unpeppered bool     // hashes without one hold
}

type pepper struct {
	check string
	key   *keyedmac.Key // nil: hashes without a pepper
}

// checkText is what a pepper's check value is made of: it names the pepper and
// tells nothing about it.
const checkText = "poterne api key pepper"

func newPepper(text string) pepper {
	p := pepper{key: keyedmac.New([]byte(text))}
	p.check = string(p.mac(nil, checkText)[:16])
	return p
}

// hexLen is the length of a sum in hexadecimal.
const hexLen = 2 * keyedmac.Size

// mac adds the sum of a text, in hexadecimal, to dst.
func (p pepper) mac(dst []byte, text string) []byte {
	key := p.key
	if key == nil {
		key = keyedmac.New(nil)
	}
	mac := key.Begin()
	mac.AddString(text)
	return mac.AppendHex(dst)
}

// NewPeppers returns the peppers, of which the first is the one in new hashes.
// unpeppered says whether hashes from before there was one hold.
func NewPeppers(unpeppered bool, texts ...config.Secret) Peppers {
	p := Peppers{unpeppered: unpeppered}
	for _, t := range texts {
		p.all = append(p.all, newPepper(t.Reveal()))
	}
	return p
}

func (p Peppers) current() pepper {
	if len(p.all) == 0 {
		return pepper{}
	}
	return p.all[0]
}

// Hash returns what is stored of a key.
func (p Peppers) Hash(k Key) Hash {
	c := p.current()
	return Hash{Sum: string(c.mac(nil, k.text.Reveal())), Pepper: c.check}
}

// Matches reports whether hash is that of k, in a time that does not depend on
// where they differ.
func (p Peppers) Matches(k Key, hash Hash) bool {
	match := 0
	var sum [hexLen]byte
	for _, c := range p.all {
		if hash.Pepper == "" || hash.Pepper == c.check {
			match |= subtle.ConstantTimeCompare(c.mac(sum[:0], k.text.Reveal()), []byte(hash.Sum))
		}
	}
	if hash.Pepper == "" && (p.unpeppered || len(p.all) == 0) {
		match |= subtle.ConstantTimeCompare(pepper{}.mac(sum[:0], k.text.Reveal()), []byte(hash.Sum))
	}
	return match == 1 && hash.Sum != ""
}

// stale reports whether hash is not made as new ones are.
func (p Peppers) stale(hash Hash) bool { return hash.Sum != "" && hash.Pepper != p.current().check }

func (p Peppers) checks() []string {
	out := make([]string, len(p.all))
	for i, c := range p.all {
		out[i] = c.check
	}
	return out
}

// PepperFile is the name of the file in the data directory that holds the pepper
// when none is configured.
const PepperFile = "api-key.pepper"

// OpenPeppers returns the peppers that cfg names, or else those in the file at
// path, one a line, which it makes when the store has never had one. It refuses
// peppers that the hashes in the store were not made with.
func OpenPeppers(ctx context.Context, cfg Config, path string, store Maintenance, random io.Reader, now time.Time) (Peppers, error) {
	texts := append([]config.Secret{cfg.Pepper}, cfg.PreviousPeppers...)
	made := false
	if cfg.Pepper == "" {
		var err error
		// Before the claim: a start that ends between the two leaves a pepper that the
		// next one claims, never a claim of a pepper that is lost.
		if texts, made, err = fileOrNew(path, random); err != nil {
			return Peppers{}, err
		}
	}
	p := NewPeppers(cfg.AcceptUnpeppered, texts...)
	there, err := store.Claim(ctx, p.current().check, p.checks(), now)
	if err == nil && len(there) > 0 && !slices.ContainsFunc(p.checks(), func(c string) bool { return slices.Contains(there, c) }) {
		err = foreign(path, there, cfg.Pepper != "", made)
	}
	if err != nil && made {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return Peppers{}, err
	}
	return p, nil
}

func foreign(path string, there []string, configured, made bool) error {
	have := "the file " + path + " has another one"
	switch {
	case configured:
		have = "api_keys.pepper is another one"
	case made:
		have = "there is none here"
	}
	return fmt.Errorf("apikey: the keys in the store were hashed with a pepper of check value %s, and %s; "+
		"copy the file %s from the data directory of the edge that made it, or give all edges the same api_keys.pepper",
		strings.Join(there, " or "), have, PepperFile)
}

// maxPepperFile bounds the file of peppers, and maxPeppers their number.
const (
	maxPepperFile = 16 << 10
	maxPeppers    = 8
	minPepper     = 32
	pepperBytes   = 32
)

// fileOrNew returns the peppers in the file at path, and reports whether it has
// just made that.
func fileOrNew(path string, random io.Reader) (texts []config.Secret, made bool, err error) {
	data, err := readLimited(path)
	if errors.Is(err, fs.ErrNotExist) {
		buf := make([]byte, pepperBytes)
		if _, err := io.ReadFull(random, buf); err != nil {
			return nil, false, fmt.Errorf("apikey: read random bytes: %w", err)
		}
		if made, err = addSecret(path, base64.RawURLEncoding.EncodeToString(buf)+"\n"); err == nil {
			data, err = readLimited(path) // another edge's on this directory, if that was first
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("apikey: read the pepper: %w", err)
	}
	for line := range strings.FieldsSeq(string(data)) {
		if len(line) < minPepper {
			return nil, made, fmt.Errorf("apikey: %s: each line must have at least %d characters", path, minPepper)
		}
		texts = append(texts, config.Secret(line))
	}
	if len(texts) == 0 || len(texts) > maxPeppers {
		return nil, false, fmt.Errorf("apikey: %s must have 1 to %d lines, got %d", path, maxPeppers, len(texts))
	}
	return texts, made, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPepperFile+1))
	if err == nil && len(data) > maxPepperFile {
		err = fmt.Errorf("the file is larger than %d bytes", maxPepperFile)
	}
	return data, err
}
