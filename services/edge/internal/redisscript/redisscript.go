// Package redisscript runs Lua scripts in Redis. It is apart from what decides
// by them, so that a program that shares nothing need not link a Redis client.
// Start reading at Open.
package redisscript

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options says where Redis is.
type Options struct {
	// Addr is host:port.
	Addr, Username, Password string
	DB                       int
	// Timeout bounds one command, and the wait for a connection.
	Timeout time.Duration
}

// Client runs scripts. It is safe for concurrent use.
type Client struct {
	client  *redis.Client
	scripts sync.Map // source → *redis.Script
}

// Open returns a client. It connects when it is first used, since what needs it
// must work without Redis too.
func Open(o Options) *Client {
	return &Client{client: redis.NewClient(&redis.Options{
		Addr: o.Addr, Username: o.Username, Password: o.Password, DB: o.DB,
		// The caller's context is the only bound that counts; a retry would break it.
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		// A new connection may take longer than one request waits.
		DialTimeout:  time.Second,
		ReadTimeout:  o.Timeout,
		WriteTimeout: o.Timeout,
		PoolTimeout:  o.Timeout,
	})}
}

// Run runs a script on keys and returns the whole numbers that it answers with. A
// script that Redis knows is named by its hash.
func (c *Client) Run(ctx context.Context, source string, keys []string, args ...any) ([]int64, error) {
	found, ok := c.scripts.Load(source)
	if !ok {
		found, _ = c.scripts.LoadOrStore(source, redis.NewScript(source))
	}
	script, ok := found.(*redis.Script)
	if !ok {
		script = redis.NewScript(source)
	}
	return script.Run(ctx, c.client, keys, args...).Int64Slice()
}

// Close closes the connections.
func (c *Client) Close() error { return c.client.Close() }
