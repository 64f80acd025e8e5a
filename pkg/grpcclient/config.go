// Package grpcclient makes connections to the other services: each call has a
// deadline with headroom, calls that are declared idempotent are tried again
// within a budget, a backend that does not answer is left alone for a while, and
// so is one address of it. It knows no service; start reading at Dial.
package grpcclient

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

// Config is how one backend is called.
type Config struct {
	// TLS says how the backend is connected to, and who it has to be.
	TLS tlsfiles.Config `yaml:"tls"`
	// Timeout is the deadline of a unary call that has none. A stream that has
	// none gets none.
	Timeout time.Duration `yaml:"timeout"`
	// Headroom is kept from a call's deadline for this process to answer in: at
	// most a tenth of what is left.
	Headroom time.Duration `yaml:"headroom"`
	// MaxRecvBytes and MaxSendBytes bound one message.
	MaxRecvBytes config.Bytes `yaml:"max_recv_bytes"`
	MaxSendBytes config.Bytes `yaml:"max_send_bytes"`
	// KeepaliveTime is how long a silent connection with calls is trusted before
	// a ping, and KeepaliveTimeout how long its answer may take.
	KeepaliveTime    time.Duration `yaml:"keepalive_time"`
	KeepaliveTimeout time.Duration `yaml:"keepalive_timeout"`
	// ConnectTimeout bounds one attempt to connect, and MaxConnectBackoff the
	// pause between two.
	ConnectTimeout    time.Duration `yaml:"connect_timeout"`
	MaxConnectBackoff time.Duration `yaml:"max_connect_backoff"`
	// DirectConnections bounds the connections to one address for unary calls that go
	// past HTTP/2, one at a time on each, where the backend takes them; further calls go
	// in the ordinary way, and with 0 all do. DirectStreams is the same for streams of
	// answers.
	DirectConnections int `yaml:"direct_connections"`
	DirectStreams     int `yaml:"direct_streams"`
	// HealthCheck leaves out addresses whose health service says not serving.
	HealthCheck bool    `yaml:"health_check"`
	Retry       Retry   `yaml:"retry"`
	Breaker     Breaker `yaml:"breaker"`
	Outlier     Outlier `yaml:"outlier"`
}

// Retry says how a failed call is tried again: only UNAVAILABLE, only before
// any part of an answer, only methods declared idempotent (gRFC A6).
type Retry struct {
	// MaxAttempts counts the first one too; 1 never tries again, 5 is the most.
	MaxAttempts int           `yaml:"max_attempts"`
	BaseBackoff time.Duration `yaml:"base_backoff"`
	MaxBackoff  time.Duration `yaml:"max_backoff"`
	// BudgetTokens is the size of the bucket from which each failure takes one
	// token and to which each success returns BudgetRatio; below half of it
	// nothing is tried again. At most 1000.
	BudgetTokens float64 `yaml:"budget_tokens"`
	BudgetRatio  float64 `yaml:"budget_ratio"`
}

// Breaker says when a whole backend is left alone: when calls do not reach it.
// What it answers, an error of whatever kind, does not count.
type Breaker struct {
	Enabled bool `yaml:"enabled"`
	// Window is the time over which calls are counted.
	Window time.Duration `yaml:"window"`
	// MinCalls is how many calls must have been made for FailureRatio, from 0 to
	// 1, to open the breaker.
	MinCalls     uint32  `yaml:"min_calls"`
	FailureRatio float64 `yaml:"failure_ratio"`
	// OpenFor is how long calls are then refused; afterwards Probes calls are let
	// through, and if all succeed the breaker closes.
	OpenFor time.Duration `yaml:"open_for"`
	Probes  uint32        `yaml:"probes"`
}

// Outlier says when one address of a backend is left out.
type Outlier struct {
	Enabled bool `yaml:"enabled"`
	// ConsecutiveFailures of UNAVAILABLE, INTERNAL or UNKNOWN that the service did
	// not answer itself leave an address out.
	ConsecutiveFailures int `yaml:"consecutive_failures"`
	// BaseEjection is for how long; it grows with each further time in a row, up
	// to MaxEjection.
	BaseEjection time.Duration `yaml:"base_ejection"`
	MaxEjection  time.Duration `yaml:"max_ejection"`
	// MaxEjectedPercent of the addresses, rounded down, may be left out at once.
	MaxEjectedPercent int `yaml:"max_ejected_percent"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		TLS:     tlsfiles.DefaultConfig(),
		Timeout: 30 * time.Second, Headroom: 20 * time.Millisecond,
		MaxRecvBytes: 16 * config.MiB, MaxSendBytes: 16 * config.MiB,
		KeepaliveTime: 30 * time.Second, KeepaliveTimeout: 5 * time.Second,
		ConnectTimeout: 3 * time.Second, MaxConnectBackoff: 2 * time.Second,
		DirectConnections: 32, DirectStreams: 128,
		Retry: Retry{
			MaxAttempts: 3, BaseBackoff: 20 * time.Millisecond, MaxBackoff: 500 * time.Millisecond,
			BudgetTokens: 100, BudgetRatio: 0.2,
		},
		Breaker: Breaker{
			Enabled: true, Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.6,
			OpenFor: time.Second, Probes: 3,
		},
		Outlier: Outlier{
			Enabled: true, ConsecutiveFailures: 5, BaseEjection: 5 * time.Second,
			MaxEjection: time.Minute, MaxEjectedPercent: 50,
		},
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	positive := func(key string, d time.Duration) {
		p.Check(d > 0, prefix+"."+key, "must be positive, got %v", d)
	}
	c.TLS.Validate(p, prefix+".tls")
	positive("timeout", c.Timeout)
	p.Check(c.Headroom >= 0, prefix+".headroom", "must not be negative, got %v", c.Headroom)
	p.Check(c.MaxRecvBytes >= config.KiB, prefix+".max_recv_bytes", "must be at least 1KiB, got %v", c.MaxRecvBytes)
	p.Check(c.MaxSendBytes >= config.KiB, prefix+".max_send_bytes", "must be at least 1KiB, got %v", c.MaxSendBytes)
	p.Check(c.KeepaliveTime >= 10*time.Second, prefix+".keepalive_time", "must be at least 10s, got %v", c.KeepaliveTime)
	positive("keepalive_timeout", c.KeepaliveTimeout)
	positive("connect_timeout", c.ConnectTimeout)
	positive("max_connect_backoff", c.MaxConnectBackoff)
	p.Check(c.DirectConnections >= 0 && c.DirectConnections <= 1000, prefix+".direct_connections", "must be from 0 to 1000, got %d", c.DirectConnections)
	p.Check(c.DirectStreams >= 0 && c.DirectStreams <= 10000, prefix+".direct_streams", "must be from 0 to 10000, got %d", c.DirectStreams)

	r := c.Retry
	p.Check(r.MaxAttempts >= 1 && r.MaxAttempts <= 5, prefix+".retry.max_attempts", "must be from 1 to 5, got %d", r.MaxAttempts)
	positive("retry.base_backoff", r.BaseBackoff)
	p.Check(r.MaxBackoff >= r.BaseBackoff, prefix+".retry.max_backoff", "must not be less than base_backoff, got %v", r.MaxBackoff)
	p.Check(r.BudgetTokens > 0 && r.BudgetTokens <= 1000, prefix+".retry.budget_tokens", "must be above 0 and at most 1000, got %v", r.BudgetTokens)
	p.Check(r.BudgetRatio > 0 && r.BudgetRatio <= 1, prefix+".retry.budget_ratio", "must be above 0 and at most 1, got %v", r.BudgetRatio)

	if b := c.Breaker; b.Enabled {
		positive("breaker.window", b.Window)
		positive("breaker.open_for", b.OpenFor)
		p.Check(b.MinCalls > 0, prefix+".breaker.min_calls", "must be positive")
		p.Check(b.Probes > 0, prefix+".breaker.probes", "must be positive")
		p.Check(b.FailureRatio > 0 && b.FailureRatio <= 1, prefix+".breaker.failure_ratio", "must be above 0 and at most 1, got %v", b.FailureRatio)
	}
	if o := c.Outlier; o.Enabled {
		p.Check(o.ConsecutiveFailures > 0, prefix+".outlier.consecutive_failures", "must be positive, got %d", o.ConsecutiveFailures)
		positive("outlier.base_ejection", o.BaseEjection)
		p.Check(o.MaxEjection >= o.BaseEjection, prefix+".outlier.max_ejection", "must not be less than base_ejection, got %v", o.MaxEjection)
		p.Check(o.MaxEjectedPercent >= 0 && o.MaxEjectedPercent <= 100, prefix+".outlier.max_ejected_percent", "must be from 0 to 100, got %d", o.MaxEjectedPercent)
	}
}
