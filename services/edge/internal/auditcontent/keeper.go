// Package auditcontent keeps the content of model calls beside the audit trail, for
// the tenants that want it: what the engine was asked and what the caller got, each
// encrypted by a key of the person who asked. That key is wrapped by the tenant's, and
// that by a master key of the configuration, so that destroying a key erases what it
// sealed, wherever a copy of that is. The record has the hash of what is kept. Start
// reading at Keeper.
package auditcontent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/envelope"
	"github.com/poterne/poterne/services/edge/internal/follow"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

const (
	// pollInterval is how often the store is asked for changes: an edge knows of a
	// tenant's wish, and of a key that is destroyed, this soon.
	pollInterval = 250 * time.Millisecond
	// staleFor is how long an edge seals by keys that it remembers while the store is
	// away: they may have been destroyed.
	staleFor = time.Second
	// keysKnown is how many persons' keys are remembered, wrapped.
	keysKnown = 8192
	pageSize  = 500
)

// Codec writes contents as JSON; *jsoncodec.Codec is one.
type Codec interface {
	Marshal(m proto.Message) ([]byte, error)
}

// Room is what a Keeper needs of the trail.
type Room interface {
	Hold(n int) bool
}

// Deps is what a Keeper works with. All of it is needed but Metrics.
type Deps struct {
	Config  audit.ContentConfig // with a key
	Store   Store
	Room    Room
	Codec   Codec
	Clock   clock.Clock
	Log     *slog.Logger
	Metrics *metrics.Contents
}

// Keeper gathers and seals contents. A nil one keeps nothing. It is safe for
// concurrent use.
type Keeper struct {
	Deps
	masters *envelope.Masters
	keys    *follow.Cache[DataKey]
	wanted  atomic.Pointer[map[string]Tenant] // those that want content kept
	away    atomic.Bool                       // the store did not answer
	failed  bool                              // which was told; of run
}

// New returns a keeper, once the store has answered. Its component must run.
func New(ctx context.Context, d Deps) (*Keeper, error) {
	masters, err := envelope.ParseMasters(d.Config.Key, d.Config.PreviousKeys...)
	if err != nil {
		return nil, fmt.Errorf("audit.content.key: %w", err)
	}
	k := &Keeper{Deps: d, masters: masters}
	k.keys, err = follow.New(keys{d.Store}, follow.Options[DataKey]{
		Name: func(r DataKey) string { return name(r.Tenant, r.Subject) }, Revision: func(r DataKey) int64 { return r.Revision },
		NotFound: ErrNotFound, Size: keysKnown, Poll: pollInterval, StaleFor: staleFor, Clock: d.Clock,
		Failed:  func(ctx context.Context) { d.Metrics.StoreFailure(ctx) },
		Besides: k.followTenants,
	})
	if err != nil {
		return nil, fmt.Errorf("auditcontent: %w", err)
	}
	if err := k.load(ctx); err != nil {
		return nil, err
	}
	if err := k.keys.Poll(ctx); err != nil {
		return nil, err
	}
	if err := k.rewrap(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

func name(tenant, subject string) string { return tenant + "\x00" + subject }

func splitName(name string) (tenant, subject string) {
	tenant, subject, _ = strings.Cut(name, "\x00")
	return tenant, subject
}

// load reads every tenant's wish.
func (k *Keeper) load(ctx context.Context) error {
	all, err := k.Store.Tenants(ctx)
	if err != nil {
		return err
	}
	wanted := make(map[string]Tenant)
	for _, t := range all {
		if t.Enabled {
			wanted[t.Tenant] = t
		}
	}
	k.wanted.Store(&wanted)
	return nil
}

// followTenants reads the wishes that changed.
func (k *Keeper) followTenants(ctx context.Context, from, to int64) error {
	var changed map[string]Tenant
	for from < to {
		page, err := k.Store.TenantChanges(ctx, from, pageSize)
		if err != nil {
			return err
		}
		for _, t := range page {
			if changed == nil {
				changed = maps.Clone(*k.wanted.Load())
			}
			delete(changed, t.Tenant)
			if t.Enabled {
				changed[t.Tenant] = t
			}
			from = t.Revision
		}
		if len(page) < pageSize {
			break
		}
	}
	if changed != nil {
		k.wanted.Store(&changed)
	}
	return nil
}

// Component follows the store.
func (k *Keeper) Component() lifecycle.Component {
	return lifecycle.Component{Name: "audit contents", Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, k.Clock, pollInterval, nil, func(ctx context.Context) error {
			err := k.keys.Poll(ctx)
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the end was asked for
			}
			k.away.Store(err != nil)
			if err != nil {
				k.Metrics.StoreFailure(ctx)
				if !k.failed { // once: it is asked several times a second
					k.Log.ErrorContext(ctx, "the store of contents' keys is away; no content is kept until it is back", telemetry.Err(err))
				}
			} else if k.failed {
				k.Log.InfoContext(ctx, "the store of contents' keys is back")
			}
			k.failed = err != nil
			return nil
		})
	}}
}

// Request has the content of the request of ctx kept, if the caller's tenant wants it:
// body as the engine gets it, and prompt, the one of the registry that it begins with,
// or nil. It asks no store.
func (k *Keeper) Request(ctx context.Context, body proto.Message, prompt *edgev1.ChatPrompt) error {
	if k == nil {
		return nil
	}
	caller, ok := identity.FromContext(ctx)
	entry := audit.From(ctx)
	if !ok || entry == nil {
		return nil
	}
	if _, wanted := (*k.wanted.Load())[caller.Tenant]; !wanted {
		return nil
	}
	raw, err := k.Codec.Marshal(body)
	if err != nil {
		return err
	}
	if prompt != nil && len(raw) > 2 {
		p, err := k.Codec.Marshal(prompt)
		if err != nil {
			return err
		}
		raw = []byte(`{"prompt":` + string(p) + `,` + string(raw[1:]))
	}
	c := &capture{
		keeper: k, tenant: caller.Tenant, subject: caller.Subject, size: int64(len(raw)), key: make(chan keyResult, 1),
		answer: answer{max: k.Config.MaxBytes},
	}
	c.request = cut(string(raw), k.Config.MaxBytes)
	// While the engine works; a person's first key has to be stored.
	go func() { c.key <- k.dataKey(context.WithoutCancel(ctx), caller.Tenant, caller.Subject) }()
	entry.SetContent(c)
	return nil
}

type keyResult struct {
	id  envelope.KeyID
	key envelope.Key
	err error
}

// dataKey returns a person's key, which is made when there is none.
func (k *Keeper) dataKey(ctx context.Context, tenant, subject string) keyResult {
	t, ok := (*k.wanted.Load())[tenant]
	if !ok {
		return keyResult{err: ErrNotFound}
	}
	r, err := k.keys.Get(ctx, name(tenant, subject))
	if err == nil && r.Wrapped == "" {
		err = ErrNotFound // destroyed
	}
	if errors.Is(err, ErrNotFound) {
		r, err = k.addKey(ctx, t, subject)
	}
	if err != nil {
		return keyResult{err: err}
	}
	key, err := k.open(t, r)
	if err != nil {
		return keyResult{err: err}
	}
	id, err := envelope.ParseKeyID(r.ID)
	return keyResult{id: id, key: key, err: err}
}

func (k *Keeper) addKey(ctx context.Context, t Tenant, subject string) (DataKey, error) {
	id, err := envelope.NewKeyID()
	if err != nil {
		return DataKey{}, err
	}
	key, err := envelope.NewKey()
	if err != nil {
		return DataKey{}, err
	}
	r := DataKey{ID: id.String(), Tenant: t.Tenant, Subject: subject, TenantKey: t.KeyID, CreateTime: k.Clock.Now()}
	above, err := k.tenantKey(t)
	if err != nil {
		return DataKey{}, err
	}
	if r.Wrapped, err = above.Wrap(key, bound(r)...); err != nil {
		return DataKey{}, err
	}
	r, err = k.Store.AddKey(ctx, r)
	if errors.Is(err, ErrNotFound) { // another request was first, or the tenant's key is another one
		r, err = k.Store.Key(ctx, t.Tenant, subject)
	}
	if err != nil {
		return DataKey{}, err
	}
	k.keys.Apply(r)
	return r, nil
}

// bound is what a person's key is bound to.
func bound(k DataKey) []string { return []string{k.TenantKey, k.Tenant, k.Subject, k.ID} }

func (k *Keeper) tenantKey(t Tenant) (envelope.Key, error) {
	return k.masters.Unwrap(t.Master, t.Wrapped, t.Tenant, t.KeyID)
}

// open unwraps a person's key.
func (k *Keeper) open(t Tenant, r DataKey) (envelope.Key, error) {
	if t.KeyID != r.TenantKey {
		return envelope.Key{}, envelope.ErrOpen
	}
	above, err := k.tenantKey(t)
	if err != nil {
		return envelope.Key{}, err
	}
	return above.Unwrap(r.Wrapped, bound(r)...)
}

// newTenantKey gives t a key.
func (k *Keeper) newTenantKey(t *Tenant) error {
	id, err := envelope.NewKeyID()
	if err != nil {
		return err
	}
	key, err := envelope.NewKey()
	if err != nil {
		return err
	}
	t.KeyID, t.Master = id.String(), k.masters.Current()
	t.Wrapped, err = k.masters.Wrap(key, t.Tenant, t.KeyID)
	return err
}

// rewrap wraps tenants' keys by the current master key. No content is read, and no
// person's key.
func (k *Keeper) rewrap(ctx context.Context) error {
	all, err := k.Store.Tenants(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.KeyID == "" || t.Master == k.masters.Current() {
			continue
		}
		key, err := k.tenantKey(t)
		if err != nil {
			k.Log.ErrorContext(ctx, "a tenant's key for contents cannot be opened: its content is not kept, and cannot be read; the master key may be missing in audit.content.previous_keys",
				slog.String(metrics.KeyTenant, t.Tenant), slog.String("master_key", t.Master), telemetry.Err(err))
			continue
		}
		t.Master = k.masters.Current()
		if t.Wrapped, err = k.masters.Wrap(key, t.Tenant, t.KeyID); err != nil {
			return err
		}
		// Changed meanwhile: by another edge, which wraps too, or the next start does.
		if _, err := k.Store.SetTenant(ctx, t); err != nil {
			return err
		}
	}
	return k.keys.Poll(ctx)
}

// normal is a name as records have it.
func normal(s string) string { return auditproof.Clean(s) }
