package issue

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/pkg/telemetry"
)

const (
	// keepEvery is how often a replica that knows keys looks whether there are others,
	// or should be.
	keepEvery = time.Minute
	// askAgain is how long after a reading a key that is not known is not asked for.
	askAgain     = time.Second
	storeTimeout = 2 * time.Second
	// margin is by how much replicas' clocks may differ.
	margin = 5 * time.Minute
)

// keyring knows the keys of all replicas on one store, and makes the next one in
// time: it is published long before it signs, and until whatever it signed is over.
// It is safe for concurrent use.
type keyring struct {
	config Config
	store  keyStore
	sealer sealer
	clock  clock.Clock
	log    *slog.Logger
	flight singleflight.Group

	mu      sync.Mutex
	read    time.Time // when the keys were; zero: never
	rows    []keyRow
	set     jose.KeySet
	text    []byte // of the set
	signers map[string]*jose.Signer
}

// load reads the keys; calls at once read once.
func (k *keyring) load(ctx context.Context) error {
	done := k.flight.DoChan("load", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		now := k.clock.Now()
		rows, err := k.store.published(ctx, now)
		if err != nil {
			return nil, err
		}
		return nil, k.take(rows, now)
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (k *keyring) take(rows []keyRow, now time.Time) error {
	texts := make([]string, 0, len(rows))
	for _, r := range rows {
		texts = append(texts, r.public)
	}
	text := []byte(`{"keys":[` + strings.Join(texts, ",") + `]}`)
	set, err := jose.ParseKeySet(text, jose.KeySetOptions{})
	if err != nil {
		return fmt.Errorf("tokens: what the store has: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read, k.rows, k.set, k.text = now, rows, set, text
	return nil
}

// find returns the set to verify by a token that names a key. It is read anew if
// that key is not known; not more often than that helps.
func (k *keyring) find(ctx context.Context, id string) (jose.KeySet, error) {
	if set, read := k.known(); set.Has(id) || !read.IsZero() && k.clock.Now().Sub(read) < askAgain {
		return set, nil
	}
	if err := k.load(ctx); err != nil {
		return jose.KeySet{}, err
	}
	set, _ := k.known()
	return set, nil
}

func (k *keyring) known() (jose.KeySet, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.set, k.read
}

// published returns the JWK set for others, not older than a minute if the store
// answers.
func (k *keyring) published(ctx context.Context) ([]byte, error) {
	k.mu.Lock()
	text, read := k.text, k.read
	k.mu.Unlock()
	if !read.IsZero() && k.clock.Now().Sub(read) < keepEvery {
		return text, nil
	}
	if err := k.load(ctx); err != nil && read.IsZero() {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text, nil
}

// signer returns what signs now, and makes the next key if it is time for it.
func (k *keyring) signer(ctx context.Context) (*jose.Signer, error) {
	now := k.clock.Now()
	away := k.keep(ctx, now)
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := signs(k.rows, now)
	if !ok { // a key that is known signs on while the store is away
		return nil, errors.Join(errors.New("tokens: no key signs now"), away)
	}
	if s := k.signers[r.id]; s != nil {
		return s, nil
	}
	s, err := k.open(r)
	if err != nil {
		return nil, fmt.Errorf("tokens: key %s: %w", r.id, err)
	}
	k.signers = map[string]*jose.Signer{r.id: s}
	return s, nil
}

// keep has the keys be what they should be at that time.
func (k *keyring) keep(ctx context.Context, now time.Time) error {
	k.mu.Lock()
	rows, read := k.rows, k.read
	k.mu.Unlock()
	if _, _, needed := next(rows, now, k.config); !needed && now.Sub(read) < keepEvery {
		return nil
	}
	if err := k.load(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	rows = k.rows
	k.mu.Unlock()
	if _, _, needed := next(rows, now, k.config); !needed {
		return nil
	}
	err := k.store.add(ctx, now, func(rows []keyRow) (keyRow, bool, error) {
		from, until, needed := next(rows, now, k.config)
		if !needed {
			return keyRow{}, false, nil
		}
		r, err := k.make(now, from, until)
		return r, true, err
	})
	if err != nil {
		return err
	}
	return k.load(ctx)
}

// watch is one turn of the work in the background: nothing, until a first key is
// known.
func (k *keyring) watch(ctx context.Context) error {
	k.mu.Lock()
	rows, read := k.rows, k.read
	k.mu.Unlock()
	if !read.IsZero() && len(rows) == 0 {
		return nil
	}
	var err error
	if read.IsZero() {
		err = k.load(ctx)
	} else {
		err = k.keep(ctx, k.clock.Now())
	}
	if err != nil && ctx.Err() == nil {
		// Tried again with the next turn; keys are made long before they are needed.
		k.log.WarnContext(ctx, "the keys of tokens cannot be kept", telemetry.Err(err))
	}
	return nil
}

// signs returns the key that signs at that time; the newest of several.
func signs(rows []keyRow, now time.Time) (out keyRow, ok bool) {
	for _, r := range rows {
		if !now.Before(r.from) && now.Before(r.until) {
			out, ok = r, true
		}
	}
	return out, ok
}

// next returns when a further key should sign, if there should be one by now: from
// the end of the last one on, or at once where nothing signs.
func next(rows []keyRow, now time.Time, c Config) (from, until time.Time, needed bool) {
	last := now
	for _, r := range rows {
		if r.until.After(last) {
			last = r.until
		}
	}
	if last.Sub(now) > c.PublishBefore {
		return from, until, false
	}
	return last, last.Add(c.RotateEvery), true
}

func (k *keyring) make(now, from, until time.Time) (keyRow, error) {
	var key crypto.Signer
	var err error
	if k.config.Algorithm == string(jose.EdDSA) {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return keyRow{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyRow{}, err
	}
	id := newKeyID()
	s, err := jose.NewSigner(id, key)
	if err != nil {
		return keyRow{}, err
	}
	public, err := s.PublicKey()
	if err != nil {
		return keyRow{}, err
	}
	return keyRow{
		id: id, public: string(public), private: k.sealer.seal(id, private),
		created: now, from: from, until: until, shown: until.Add(maxLifetime + margin),
	}, nil
}

func (k *keyring) open(r keyRow) (*jose.Signer, error) {
	der, err := k.sealer.open(r.id, r.private)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("it is no private key")
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is no private key that signs")
	}
	return jose.NewSigner(r.id, key)
}
