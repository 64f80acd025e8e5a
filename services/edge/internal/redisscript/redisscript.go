// Package redisscript runs Lua scripts in Redis. It is apart from what decides
// by them, so that a program that shares nothing need not link a Redis client.
// Start reading at Open.
package redisscript

import (
	"context"
	"sync"
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
}

// answers is the longest that an answer is waited for; a call's context may be over
// before.
const answers = time.Second

// Client runs scripts. It is safe for concurrent use.
type Client struct {
	client  redis.UniversalClient
	scripts sync.Map // source → *redis.Script
}

// Open returns a client. It connects when it is first used, since what needs it
// must work without Redis too.
func Open(o Options) *Client {
	return &Client{client: redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: o.Addrs, Username: o.Username, Password: o.Password, DB: o.DB, MasterName: o.Master, IsClusterMode: o.Cluster,
		// The caller's context is the only bound that counts; a retry would break it. A
		// cluster's answer that a key is elsewhere is followed all the same.
		ContextTimeoutEnabled:    true,
		MaxRetries:               -1,
		MaxRedirects:             3,
		DialTimeout:              answers,
		ReadTimeout:              answers,
		WriteTimeout:             answers,
		PoolTimeout:              answers,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
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
