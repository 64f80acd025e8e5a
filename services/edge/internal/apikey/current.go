package apikey

import (
	"context"
	"errors"
)

// Current returns what is kept of the key with that id, as Verify would for who
// shows its text: for what somebody was given who had shown it. A key that does
// not hold is an *InvalidError.
func (m *Manager) Current(ctx context.Context, id string) (Record, error) {
	if !validID(id) {
		return Record{}, &InvalidError{Cause: Unknown}
	}
	rec, err := m.cache.get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return Record{}, &InvalidError{Cause: Unknown}
	}
	if err != nil {
		return Record{}, err
	}
	return m.living(rec)
}

// living returns a key unless it was ended.
func (m *Manager) living(rec Record) (Record, error) {
	switch {
	case !rec.RevokeTime.IsZero():
		return Record{}, &InvalidError{Cause: Revoked, ID: rec.ID}
	case !rec.ExpireTime.IsZero() && !m.clock.Now().Before(rec.ExpireTime):
		return Record{}, &InvalidError{Cause: Expired, ID: rec.ID}
	}
	return rec, nil
}
