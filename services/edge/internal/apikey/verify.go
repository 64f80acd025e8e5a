package apikey

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/identity"
)

// InvalidError says why a key's text was not accepted.
type InvalidError struct {
	Cause Cause
	// ID names the key when its secret was right.
	ID string
}

// Cause is why a key is not accepted.
type Cause string

// The causes.
const (
	Malformed Cause = "malformed"
	Unknown   Cause = "unknown"
	Revoked   Cause = "revoked"
	Expired   Cause = "expired"
	// Rotated is the secret before the last rotation, after its time.
	Rotated Cause = "rotated"
	// Disabled is a key whose service account is disabled or gone.
	Disabled Cause = "disabled"
)

func (e *InvalidError) Error() string { return "apikey: the key is " + string(e.Cause) }

// Verified is a key that holds, as it is remembered: others have the same Record,
// Access and Caller, so none may be changed.
type Verified struct {
	*Record
	*Access

	// Caller is the key's holder.
	Caller *identity.Caller

	// Made is where who verifies the key keeps what it makes of the others; it is empty
	// again when anything of them changes.
	Made *atomic.Value

	// SecretTime is when a rotation made the key's only secret, and the one before
	// has ended; the zero time when none has. It is known of State's answers.
	SecretTime time.Time
}

// Verify returns what is kept of the key whose text is shown. A key that is not
// accepted is an *InvalidError; any other error means that it could not be judged.
func (m *Manager) Verify(ctx context.Context, text string) (Verified, error) {
	key, err := Parse(text)
	if err != nil {
		return Verified{}, &InvalidError{Cause: Malformed}
	}
	rec, err := m.cache.Get(ctx, key.ID)
	if errors.Is(err, ErrNotFound) {
		return Verified{}, &InvalidError{Cause: Unknown}
	}
	if err != nil {
		return Verified{}, err
	}
	shown, now := m.shown(key, &rec.Record), m.clock.Now()
	switch {
	case shown == Hash{}:
		return Verified{}, &InvalidError{Cause: Unknown}
	case !rec.RevokeTime.IsZero(): // said before that it was rotated, which matters no longer
	case shown == rec.Previous && !now.Before(rec.PreviousExpireTime):
		return Verified{}, &InvalidError{Cause: Rotated, ID: rec.ID}
	}
	if err := holds(&rec.Record, now); err != nil {
		return Verified{}, err
	}
	m.usage.note(rec.ID, now)
	if m.cfg.Rehash && m.peppers.stale(shown) {
		m.usage.rehash(rec.ID, shown, m.peppers.Hash(key))
	}
	return Verified{Record: &rec.Record, Access: &rec.access, Caller: &rec.caller, Made: &rec.made}, nil
}

// State returns what is kept of a key that holds, by its id: for what was issued
// to it before. The errors are those of Verify, and as cheap: remembered keys are
// not asked of the store.
func (m *Manager) State(ctx context.Context, id string) (Verified, error) {
	if !validID(id) {
		return Verified{}, &InvalidError{Cause: Unknown}
	}
	rec, err := m.cache.Get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return Verified{}, &InvalidError{Cause: Unknown}
	}
	if err != nil {
		return Verified{}, err
	}
	now := m.clock.Now()
	if err := holds(&rec.Record, now); err != nil {
		return Verified{}, err
	}
	out := Verified{Record: &rec.Record, Access: &rec.access, Caller: &rec.caller, Made: &rec.made}
	if !now.Before(rec.PreviousExpireTime) {
		out.SecretTime = rec.RotateTime
	}
	return out, nil
}

// shown returns which hash of rec is that of the key; none when it has another
// secret. Both are compared, whatever the first says.
func (m *Manager) shown(key Key, rec *Record) Hash {
	current := m.peppers.Matches(key, rec.Secret)
	previous := rec.Previous.Sum != "" && m.peppers.Matches(key, rec.Previous)
	switch {
	case current:
		return rec.Secret
	case previous:
		return rec.Previous
	default:
		return Hash{}
	}
}

func holds(rec *Record, now time.Time) error {
	switch rec.State(now) {
	case StateRevoked:
		return &InvalidError{Cause: Revoked, ID: rec.ID}
	case StateExpired:
		return &InvalidError{Cause: Expired, ID: rec.ID}
	case StateDisabled:
		return &InvalidError{Cause: Disabled, ID: rec.ID}
	case Active:
		return nil
	default:
		return &InvalidError{Cause: Unknown, ID: rec.ID}
	}
}

// Leak is what is known of a text that was found where no key should be.
type Leak struct {
	// WellFormed says that the text has a key's form, checksum included.
	WellFormed bool
	// Found says that Record is the key whose secret it is, or was before the last
	// rotation.
	Found  bool
	Record Record
}

// Check tells what is known of each text, whether the key holds or not. As much
// is computed for a text of a key that does not exist as for another.
func (m *Manager) Check(ctx context.Context, texts []string) ([]Leak, error) {
	out, keys, ids := make([]Leak, len(texts)), make([]Key, len(texts)), []string(nil)
	for i, text := range texts {
		key, err := Parse(text)
		if err != nil {
			continue
		}
		out[i].WellFormed, keys[i] = true, key
		ids = append(ids, key.ID)
	}
	recs, err := m.store.GetAll(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]Record, len(recs))
	for _, r := range recs {
		byID[r.ID] = r
	}
	nobody := Record{Secret: Hash{Sum: "-", Pepper: m.peppers.current().check}}
	for i, key := range keys {
		if !out[i].WellFormed {
			continue
		}
		rec, ok := byID[key.ID]
		if !ok {
			rec = nobody
		}
		if (m.shown(key, &rec) != Hash{}) && ok {
			out[i].Found, out[i].Record = true, rec
		}
	}
	return out, nil
}
