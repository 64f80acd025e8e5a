package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The states of a change, as they are stored.
const (
	statePending    = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_PENDING
	stateApproved   = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_APPROVED
	stateRejected   = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_REJECTED
	stateExpired    = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_EXPIRED
	stateSuperseded = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_SUPERSEDED
)

const aliasChangeQuery = `SELECT id, model, alias, kind, from_version, from_digest, from_etag, to_version, to_digest, patterns,
	rollback_to, requested_by, reason, state, create_time, expire_time, decided_by, decision, decide_time, revision
	FROM registry_alias_changes WHERE model = $1 `

// changeName and changeID are how a change is called outside and in the store.
func changeName(id int64) string { return "c" + strconv.FormatInt(id, 10) }

func changeID(name string) int64 {
	id, err := strconv.ParseInt(strings.TrimPrefix(name, "c"), 10, 64)
	if err != nil || changeName(id) != name {
		return 0 // there is none of that id
	}
	return id
}

// scanAliasChange reads a change as it stands at the given time.
func scanAliasChange(now time.Time) func(scanner) (*registryv1.AliasChange, error) {
	return func(row scanner) (*registryv1.AliasChange, error) {
		var (
			a                                       registryv1.AliasChange
			id, created, expires, decided, revision int64
			patterns                                string
		)
		err := row.Scan(&id, &a.Model, &a.Alias, &a.Kind, &a.FromVersion, &a.FromDigest, &a.FromEtag, &a.ToVersion, &a.ToDigest,
			&patterns, &a.RollbackTo, &a.RequestedBy, &a.Reason, &a.State, &created, &expires, &a.DecidedBy, &a.Decision, &decided, &revision)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(patterns), &a.Protected); err != nil {
			return nil, fmt.Errorf("patterns of %s: %w", changeName(id), err)
		}
		a.Id, a.Etag = changeName(id), etagOf(revision)
		a.CreateTime, a.ExpireTime = timestamp(created), timestamp(expires)
		switch {
		case a.GetState() == statePending && expires <= micros(now):
			a.State, a.Etag = stateExpired, a.GetEtag()+"-expired"
		case a.GetState() == stateApproved:
			a.Revision = revision
		}
		if decided != 0 {
			a.DecideTime = timestamp(decided)
		}
		return &a, nil
	}
}

// askForAlias notes a change of a protected alias that waits for its approval.
func (s *Store) askForAlias(ctx context.Context, c *change, there *registryv1.Alias, m aliasMove) (*registryv1.AliasChange, error) {
	a := &registryv1.AliasChange{
		Alias: m.name, Kind: registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_SET,
		FromVersion: there.GetVersion(), FromDigest: there.GetDigest(), FromEtag: there.GetEtag(),
		ToVersion: m.version, ToDigest: m.digest, RollbackTo: m.rollbackTo, Reason: m.reason,
	}
	if m.version == 0 {
		a.Kind = registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_DELETE
	}
	return s.ask(ctx, c, a)
}

// askForProtection notes a change that takes patterns away.
func (s *Store) askForProtection(ctx context.Context, c *change, there *registryv1.AliasProtection, patterns []string, reason string) (
	*registryv1.AliasChange, error,
) {
	return s.ask(ctx, c, &registryv1.AliasChange{
		Kind: registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_PROTECTION, FromEtag: there.GetEtag(), Protected: patterns, Reason: reason,
	})
}

// ask stores a change that waits, in the place of what waited before. The same
// again by the same subject, while it waits, changes nothing.
func (s *Store) ask(ctx context.Context, c *change, a *registryv1.AliasChange) (*registryv1.AliasChange, error) {
	a.RequestedBy = c.actor
	waiting, err := s.waiting(ctx, c.tx, c.now, c.model, a.GetAlias())
	if err != nil {
		return nil, err
	}
	if waiting != nil && sameWish(waiting, a) {
		return waiting, errUnchanged
	}
	if err := c.supersede(ctx, a.GetAlias()); err != nil {
		return nil, err
	}
	patterns, err := json.Marshal(slices.Concat([]string{}, a.GetProtected()))
	if err != nil {
		return nil, fmt.Errorf("patterns: %w", err)
	}
	c.kind = aliasChangeAsked
	err = c.exec(ctx, `INSERT INTO registry_alias_changes
		(id, model, alias, kind, from_version, from_digest, from_etag, to_version, to_digest, patterns, rollback_to,
		requested_by, reason, state, create_time, expire_time, decided_by, decision, decide_time, revision)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', '', 0, $1)`,
		c.revision, c.model, a.GetAlias(), int32(a.GetKind()), a.GetFromVersion(), a.GetFromDigest(), a.GetFromEtag(),
		a.GetToVersion(), a.GetToDigest(), string(patterns), a.GetRollbackTo(), a.GetRequestedBy(), a.GetReason(),
		int32(statePending), micros(c.now), micros(c.now.Add(s.opts.ApprovalTime)))
	if err != nil {
		return nil, err
	}
	return s.aliasChange(ctx, c.tx, c.now, c.model, c.revision)
}

// sameWish reports whether two changes differ in nothing but what the registry
// gave them.
func sameWish(a, b *registryv1.AliasChange) bool {
	bare := func(c *registryv1.AliasChange) *registryv1.AliasChange {
		return &registryv1.AliasChange{
			Alias: c.GetAlias(), Kind: c.GetKind(), FromEtag: c.GetFromEtag(), ToVersion: c.GetToVersion(),
			Protected: c.GetProtected(), RollbackTo: c.GetRollbackTo(), RequestedBy: c.GetRequestedBy(), Reason: c.GetReason(),
		}
	}
	return proto.Equal(bare(a), bare(b))
}

// supersede ends the change of an alias that waits, if one does: its place is
// taken. "" is the protection.
func (c *change) supersede(ctx context.Context, alias string) error {
	err := c.exec(ctx, `UPDATE registry_alias_changes SET state = $1, revision = $2
		WHERE model = $3 AND alias = $4 AND state = $5 AND expire_time <= $6`,
		int32(stateExpired), c.revision, c.model, alias, int32(statePending), micros(c.now))
	if err != nil {
		return err
	}
	return c.exec(ctx, `UPDATE registry_alias_changes SET state = $1, revision = $2, decided_by = $3, decide_time = $4
		WHERE model = $5 AND alias = $6 AND state = $7`,
		int32(stateSuperseded), c.revision, c.actor, micros(c.now), c.model, alias, int32(statePending))
}

// waiting returns the change of an alias that waits, or nil.
func (s *Store) waiting(ctx context.Context, q querier, now time.Time, model, alias string) (*registryv1.AliasChange, error) {
	a, err := scanAliasChange(now)(q.QueryRowContext(ctx,
		aliasChangeQuery+`AND alias = $2 AND state = $3 AND expire_time > $4`, model, alias, int32(statePending), micros(now)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // what is not there is no error here
	}
	return a, err
}

func (s *Store) aliasChange(ctx context.Context, q querier, now time.Time, model string, id int64) (*registryv1.AliasChange, error) {
	if err := hasModel(ctx, q, model); err != nil {
		return nil, err
	}
	a, err := scanAliasChange(now)(q.QueryRowContext(ctx, aliasChangeQuery+`AND id = $2`, model, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("change", "the model %q has no such alias change", model)
	}
	return a, err
}

// GetAliasChange returns a change by its id.
func (s *Store) GetAliasChange(ctx context.Context, model, id string) (*registryv1.AliasChange, error) {
	var out *registryv1.AliasChange
	err := s.snapshot(ctx, "get alias change", func(ctx context.Context, q querier) (err error) {
		out, err = s.aliasChange(ctx, q, s.opts.Clock.Now(), model, changeID(id))
		return err
	})
	return out, err
}

// ChangeFilter says which alias changes are listed.
type ChangeFilter struct {
	// Alias is the alias; "" is all of them.
	Alias string
	// Pending leaves out what is decided.
	Pending bool
}

// ListAliasChanges returns at most limit changes of a model, newest first, those
// with an id before the given one; "" begins at the newest.
func (s *Store) ListAliasChanges(ctx context.Context, model string, f ChangeFilter, before string, limit int) ([]*registryv1.AliasChange, error) {
	last := int64(math.MaxInt64)
	if before != "" {
		last = changeID(before)
	}
	now := s.opts.Clock.Now()
	query, args := aliasChangeQuery+`AND id < $2`, []any{model, last}
	if f.Alias != "" {
		args = append(args, f.Alias)
		query += fmt.Sprintf(` AND alias = $%d`, len(args))
	}
	if f.Pending {
		args = append(args, int32(statePending), micros(now))
		query += fmt.Sprintf(` AND state = $%d AND expire_time > $%d`, len(args)-1, len(args))
	}
	args = append(args, limit)
	query += fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args))
	var out []*registryv1.AliasChange
	err := s.snapshot(ctx, "list alias changes", func(ctx context.Context, q querier) (err error) {
		if err := hasModel(ctx, q, model); err != nil {
			return err
		}
		out, err = collect(ctx, q, scanAliasChange(now), query, args...)
		return err
	})
	return out, err
}

// addPending tells the aliases of a model which change of them waits.
func (s *Store) addPending(ctx context.Context, q querier, model string, aliases ...*registryv1.Alias) error {
	now := s.opts.Clock.Now()
	waiting, err := collect(ctx, q, scanAliasChange(now),
		aliasChangeQuery+`AND state = $2 AND expire_time > $3`, model, int32(statePending), micros(now))
	if err != nil {
		return fmt.Errorf("pending changes: %w", err)
	}
	for _, w := range waiting {
		for _, a := range aliases {
			if a.GetName() == w.GetAlias() {
				a.PendingChange = w.GetId()
			}
		}
	}
	return nil
}
