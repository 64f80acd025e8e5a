// Package rediscache keeps values in Redis: one server, a cluster, or whichever
// server the sentinels call the master. It is apart from what is kept, so that a
// program that shares nothing need not link a Redis client. Start reading at Open.
package rediscache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options says where Redis is.
type Options struct {
	// Addrs are host:port of the server, of some nodes of the cluster, or of the
	// sentinels of Master.
	Addrs              []string
	Cluster            bool
	Master             string
	Username, Password string
	DB                 int
	// Timeout bounds one read, and the wait for a connection.
	Timeout time.Duration
}

// Store keeps values. It is safe for concurrent use.
type Store struct{ client redis.UniversalClient }

// Open returns a store. It connects when it is first used, since what needs it must
// work without Redis too.
func Open(o Options) *Store {
	u := &redis.UniversalOptions{
		Addrs: o.Addrs, Username: o.Username, Password: o.Password, DB: o.DB, MasterName: o.Master, IsClusterMode: o.Cluster,
		// The caller's context is the only bound that counts; a retry would break it. A
		// cluster's answer that a key is elsewhere is followed all the same.
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		MaxRedirects:          3,
		// A new connection may take longer than one request waits.
		DialTimeout: time.Second, ReadTimeout: o.Timeout, WriteTimeout: time.Second, PoolTimeout: o.Timeout,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	return &Store{client: redis.NewUniversalClient(u)}
}

// Get returns at most limit bytes of a value, whoever wrote it; nil when there is
// none.
func (s *Store) Get(ctx context.Context, name string, limit int) ([]byte, error) {
	value, err := s.client.GetRange(ctx, name, 0, int64(limit)).Bytes()
	if errors.Is(err, redis.Nil) || err == nil && len(value) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rediscache: %w", err)
	}
	return value, nil
}

// Set keeps a value for a time.
func (s *Store) Set(ctx context.Context, name string, value []byte, ttl time.Duration) error {
	if err := s.client.Set(ctx, name, value, max(ttl, time.Millisecond)).Err(); err != nil {
		return fmt.Errorf("rediscache: %w", err)
	}
	return nil
}

// Claim sets a name unless it is set, for a time.
func (s *Store) Claim(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	mine, err := s.client.SetNX(ctx, name, "", max(ttl, time.Millisecond)).Result()
	if err != nil {
		return false, fmt.Errorf("rediscache: %w", err)
	}
	return mine, nil
}

// Close closes the connections.
func (s *Store) Close() error { return s.client.Close() }
