// Package webhook tells tenants of what happens to their budgets, by signed requests
// to addresses that they name (Standard Webhooks 1.0). What happens is noted in the
// store in the transaction that makes it so, once by all edges, with one delivery for
// each webhook that wants it; edges carry deliveries out until they are taken or have
// failed too often. It prices and refuses nothing. Start reading at Notices, which
// notes events, and Deliverer, which tells them.
package webhook

import (
	"errors"
	"slices"
	"time"

	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// The types of events.
const (
	// BudgetWarning: as much is used of a budget as one of its warnings says.
	BudgetWarning = "budget.warning"
	// BudgetExhausted: all of it is used.
	BudgetExhausted = "budget.exhausted"
	// BudgetRefused: a hard budget has refused a request, the first in its period.
	BudgetRefused = "budget.refused"
	// BudgetPeriodStarted: it counts anew.
	BudgetPeriodStarted = "budget.period_started"
	// Test is told on request only.
	Test = "webhook.test"
)

// Types is every type that a webhook may ask for.
func Types() []string {
	return []string{BudgetWarning, BudgetExhausted, BudgetRefused, BudgetPeriodStarted}
}

// What a store answers.
var (
	ErrNotFound = errors.New("webhook: there is no such webhook")
	// ErrNoEvent says that the webhook was not told of such an event.
	ErrNoEvent = errors.New("webhook: there is no such delivery")
	// ErrFull says that the tenant has as many webhooks as may be.
	ErrFull = errors.New("webhook: the tenant has too many webhooks")
)

// MaxPerTenant bounds the webhooks of one tenant.
const MaxPerTenant = 16

// Hook is an address that is told of events.
type Hook struct {
	Tenant, ID string
	// UID tells it from others that had its name.
	UID string
	URL string
	// Events are the types that it wants; none: all of them.
	Events   []string
	Disabled bool
	// Master names the key that Secret is wrapped by.
	Master, Secret string
	// PreviousMaster and PreviousSecret are of the secret before: it signs, too, until
	// PreviousUntil.
	PreviousMaster, PreviousSecret string
	PreviousUntil                  time.Time
	CreateTime, UpdateTime         time.Time
	Updater                        string
}

// bound is what the secret is wrapped for: it opens for no other webhook.
func (h *Hook) bound() []string { return []string{"webhook", h.Tenant, h.UID} }

// seal has the hook keep a secret, which only the holder of a master key can read.
func (h *Hook) seal(m *envelope.Masters, secret envelope.Key) (err error) {
	h.Master = m.Current()
	h.Secret, err = m.Wrap(secret, h.bound()...)
	return err
}

// rotate has the hook keep another secret, and the present one until a time.
func (h *Hook) rotate(m *envelope.Masters, secret envelope.Key, until time.Time) error {
	h.PreviousMaster, h.PreviousSecret, h.PreviousUntil = h.Master, h.Secret, until
	return h.seal(m, secret)
}

// rotated reports whether the secret before signs, too, at a time.
func (h *Hook) rotated(now time.Time) bool {
	return h.PreviousSecret != "" && now.Before(h.PreviousUntil)
}

// open returns the secrets that sign at a time, the newest first.
func (h *Hook) open(m *envelope.Masters, now time.Time) ([]envelope.Key, error) {
	secret, err := m.Unwrap(h.Master, h.Secret, h.bound()...)
	if err != nil {
		return nil, err
	}
	keys := []envelope.Key{secret}
	if h.rotated(now) {
		// One that cannot be opened keeps no event from being told by the other.
		if secret, err = m.Unwrap(h.PreviousMaster, h.PreviousSecret, h.bound()...); err == nil {
			keys = append(keys, secret)
		}
	}
	return keys, nil
}

// Event is something that happened.
type Event struct {
	ID string
	// Key says what it is: there is one event of a key, whoever notes it.
	Key    string
	Tenant string
	Type   string
	// Body is what is sent.
	Body string
	// Time is when it happened: webhooks that were made later are not told.
	Time time.Time
	// KeepUntil is until when no second event of the key may be; the zero time: for ever.
	KeepUntil time.Time
}

// The states of a delivery.
const (
	Pending   = "pending"
	Delivered = "delivered"
	// Dead is one that failed too often.
	Dead = "dead"
)

// Delivery is an event as far as one webhook goes.
type Delivery struct {
	Event, Type, State string
	Attempts           int
	// Status is that of the last answer; 0: there was none, and Problem says why.
	Status               int
	Problem              string
	CreateTime, NextTime time.Time
}

func knownType(t string) bool { return slices.Contains(Types(), t) }
