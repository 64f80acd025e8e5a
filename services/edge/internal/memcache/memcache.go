// Package memcache keeps values in memcached servers, each value on one of them. It
// is apart from what is kept, so that a program that shares nothing need not link a
// client. Start reading at Open.
package memcache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// Store keeps values. It is safe for concurrent use.
type Store struct {
	read, write *memcache.Client
}

// maxIdle is how many connections to each server are kept.
const maxIdle = 16

// writeTimeout bounds a write, for which nobody waits.
const writeTimeout = time.Second

// Open returns a store on the servers, each host:port; timeout bounds one read. It
// connects when it is first used.
func Open(addrs []string, timeout time.Duration) (*Store, error) {
	servers := new(memcache.ServerList)
	if err := servers.SetServers(addrs...); err != nil {
		return nil, fmt.Errorf("memcache: %w", err)
	}
	client := func(timeout time.Duration) *memcache.Client {
		c := memcache.NewFromSelector(servers)
		c.Timeout, c.MaxIdleConns = timeout, maxIdle
		return c
	}
	return &Store{read: client(timeout), write: client(writeTimeout)}, nil
}

// Get returns a value, which is none when it is longer than limit; nil when there is
// none. The bound of time is the store's own.
func (s *Store) Get(ctx context.Context, name string, limit int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	item, err := s.read.Get(name)
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("memcache: %w", err)
	case len(item.Value) > limit:
		return nil, nil
	}
	return item.Value, nil
}

// longest is the longest time that is not taken for a date, by the protocol.
const longest = 30 * 24 * time.Hour

// Set keeps a value for a time, in whole seconds; 30 days at most.
func (s *Store) Set(ctx context.Context, name string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.write.Set(&memcache.Item{Key: name, Value: value, Expiration: seconds(ttl)}); err != nil {
		return fmt.Errorf("memcache: %w", err)
	}
	return nil
}

// seconds is a time in whole seconds, of which there is one at least.
func seconds(ttl time.Duration) int32 {
	return max(int32(math.Ceil(min(ttl, longest).Seconds())), 1)
}

// Claim sets a name unless it is set, for a time in whole seconds.
func (s *Store) Claim(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err := s.read.Add(&memcache.Item{Key: name, Expiration: seconds(ttl)})
	switch {
	case errors.Is(err, memcache.ErrNotStored):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("memcache: %w", err)
	}
	return true, nil
}

// Close closes the connections that are not in use.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }
