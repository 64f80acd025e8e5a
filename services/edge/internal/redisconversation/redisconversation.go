// Package redisconversation keeps conversations in Redis. It is apart from what they
// are, so that a program which keeps them elsewhere need not link a Redis client.
// Start reading at Open.
package redisconversation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/poterne/poterne/services/edge/internal/conversation"
)

// Store is a conversation.Store: a key for each conversation, which Redis lets expire,
// a sorted set of each owner's by when they were used, and a set of a tenant's owners.
// It is safe for concurrent use.
type Store struct{ client *redis.Client }

var _ conversation.Store = (*Store)(nil)

// Open returns a store. It connects when it is first used.
func Open(c conversation.RedisConfig) *Store {
	return &Store{client: redis.NewClient(&redis.Options{
		Addr: c.Addr, Username: c.Username, Password: c.Password.Reveal(), DB: c.DB, ContextTimeoutEnabled: true,
		DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, PoolTimeout: c.Timeout,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})}
}

// Close implements conversation.Store.
func (s *Store) Close() error { return s.client.Close() }

const prefix = "poterne:conversation:"

// name is a key that no other names make.
func name(kind string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return prefix + kind + ":" + hex.EncodeToString(h.Sum(nil))
}

func keyOf(o conversation.Owner, id string) string { return name("one", o.Tenant, o.Subject, id) }

func ownKey(o conversation.Owner) string { return name("own", o.Tenant, o.Subject) }

func tenantKey(tenant string) string { return name("tenant", tenant) }

// value is a record as it is kept; times are microseconds since 1970.
type value struct {
	Version    int64  `json:"version"`
	Created    int64  `json:"create_time"`
	Updated    int64  `json:"update_time"`
	Expires    int64  `json:"expire_time"`
	Turns      int64  `json:"turns"`
	Summarized int64  `json:"summarized"`
	Body       string `json:"body"`
}

func record(id, text string, now time.Time) (conversation.Record, error) {
	var v value
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return conversation.Record{}, fmt.Errorf("redisconversation: %w", err)
	}
	r := conversation.Record{
		ID: id, Version: v.Version, CreateTime: time.UnixMicro(v.Created).UTC(), UpdateTime: time.UnixMicro(v.Updated).UTC(),
		ExpireTime: time.UnixMicro(v.Expires).UTC(), Body: v.Body, Turns: v.Turns, Summarized: v.Summarized,
	}
	if !r.ExpireTime.After(now) {
		return conversation.Record{}, conversation.ErrNotFound
	}
	return r, nil
}

// Read implements conversation.Store.
func (s *Store) Read(ctx context.Context, o conversation.Owner, id string, now time.Time) (conversation.Record, error) {
	return read(ctx, s.client, o, id, now)
}

func read(ctx context.Context, c redis.Cmdable, o conversation.Owner, id string, now time.Time) (conversation.Record, error) {
	text, err := c.Get(ctx, keyOf(o, id)).Result()
	if errors.Is(err, redis.Nil) {
		return conversation.Record{}, conversation.ErrNotFound
	}
	if err != nil {
		return conversation.Record{}, fmt.Errorf("redisconversation: read: %w", err)
	}
	return record(id, text, now)
}

// Write implements conversation.Store, by Redis's optimistic locking.
func (s *Store) Write(ctx context.Context, o conversation.Owner, r conversation.Record, before int64, most int) error {
	key := keyOf(o, r.ID)
	text, err := json.Marshal(value{
		Version: r.Version, Created: r.CreateTime.UnixMicro(), Updated: r.UpdateTime.UnixMicro(), Expires: r.ExpireTime.UnixMicro(),
		Turns: r.Turns, Summarized: r.Summarized, Body: r.Body,
	})
	if err != nil {
		return fmt.Errorf("redisconversation: write: %w", err)
	}
	ttl := max(r.ExpireTime.Sub(r.UpdateTime), time.Second)
	err = s.client.Watch(ctx, func(tx *redis.Tx) error {
		is, err := read(ctx, tx, o, r.ID, r.UpdateTime)
		if err != nil && !errors.Is(err, conversation.ErrNotFound) {
			return err
		}
		if is.Version != before {
			return conversation.ErrConflict
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, key, text, ttl)
			p.ZAdd(ctx, ownKey(o), redis.Z{Score: float64(r.UpdateTime.UnixMicro()), Member: r.ID})
			p.Expire(ctx, ownKey(o), ttl)
			p.SAdd(ctx, tenantKey(o.Tenant), o.Subject)
			p.ExpireGT(ctx, tenantKey(o.Tenant), ttl)
			p.ExpireNX(ctx, tenantKey(o.Tenant), ttl)
			return nil
		})
		return err
	}, key)
	switch {
	case errors.Is(err, redis.TxFailedErr), errors.Is(err, conversation.ErrConflict):
		return conversation.ErrConflict
	case err != nil:
		return fmt.Errorf("redisconversation: write: %w", err)
	case before != 0:
		return nil
	}
	rest, err := s.client.ZRange(ctx, ownKey(o), 0, int64(-most-1)).Result()
	if err != nil {
		return fmt.Errorf("redisconversation: write: %w", err)
	}
	_, err = s.forget(ctx, o, rest)
	return err
}

// forget deletes an owner's conversations, and says how many there were.
func (s *Store) forget(ctx context.Context, o conversation.Owner, ids []string) (int, error) {
	n := 0
	for part := range slices.Chunk(ids, 500) {
		keys, members := make([]string, len(part)), make([]any, len(part))
		for i, id := range part {
			keys[i], members[i] = keyOf(o, id), id
		}
		deleted, err := s.client.Del(ctx, keys...).Result()
		if err == nil {
			err = s.client.ZRem(ctx, ownKey(o), members...).Err()
		}
		if err != nil {
			return n, fmt.Errorf("redisconversation: forget: %w", err)
		}
		n += int(deleted)
	}
	return n, nil
}

// List implements conversation.Store.
func (s *Store) List(ctx context.Context, o conversation.Owner, after string, limit int, now time.Time) ([]conversation.Record, error) {
	ids, err := s.client.ZRange(ctx, ownKey(o), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("redisconversation: list: %w", err)
	}
	slices.SortFunc(ids, strings.Compare)
	var out []conversation.Record
	for _, id := range ids {
		if id <= after {
			continue
		}
		r, err := s.Read(ctx, o, id, now)
		if errors.Is(err, conversation.ErrNotFound) {
			_ = s.client.ZRem(ctx, ownKey(o), id).Err() // it has expired; the next list tries again
			continue
		}
		if err != nil {
			return nil, err
		}
		r.Body = ""
		if out = append(out, r); len(out) == limit {
			break
		}
	}
	return out, nil
}

// Delete implements conversation.Store.
func (s *Store) Delete(ctx context.Context, o conversation.Owner, id string, now time.Time) error {
	if _, err := s.Read(ctx, o, id, now); err != nil {
		return err
	}
	n, err := s.forget(ctx, o, []string{id})
	if err == nil && n == 0 {
		return conversation.ErrNotFound
	}
	return err
}

// DeleteAll implements conversation.Store.
func (s *Store) DeleteAll(ctx context.Context, tenant, subject string) (int, error) {
	subjects := []string{subject}
	if subject == "" {
		var err error
		if subjects, err = s.client.SMembers(ctx, tenantKey(tenant)).Result(); err != nil {
			return 0, fmt.Errorf("redisconversation: forget: %w", err)
		}
	}
	total := 0
	for _, who := range subjects {
		o := conversation.Owner{Tenant: tenant, Subject: who}
		ids, err := s.client.ZRange(ctx, ownKey(o), 0, -1).Result()
		if err != nil {
			return total, fmt.Errorf("redisconversation: forget: %w", err)
		}
		n, err := s.forget(ctx, o, ids)
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

// Purge implements conversation.Store: Redis lets keys expire by itself.
func (*Store) Purge(context.Context, time.Time, int) (int, error) { return 0, nil }
