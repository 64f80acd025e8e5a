package grpcserver

import (
	"context"
	"net"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/poterne/poterne/pkg/callwire"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

// Config bounds everything that a peer can make the server hold.
type Config struct {
	// Addr is the host:port to listen on.
	Addr string `yaml:"addr"`
	// TLS says who may connect.
	TLS tlsfiles.Config `yaml:"tls"`
	// MaxRecvBytes and MaxSendBytes bound one message.
	MaxRecvBytes config.Bytes `yaml:"max_recv_bytes"`
	MaxSendBytes config.Bytes `yaml:"max_send_bytes"`
	// MaxHeaderBytes bounds the metadata of one call.
	MaxHeaderBytes config.Bytes `yaml:"max_header_bytes"`
	// MaxConnections bounds the connections that are open at once; further ones
	// wait to be accepted.
	MaxConnections int `yaml:"max_connections"`
	// MaxConcurrentStreams bounds the calls in hand on one connection.
	MaxConcurrentStreams uint32 `yaml:"max_concurrent_streams"`
	// MaxWatches bounds the streams about the server itself, health and
	// reflection, that are open at once, and MaxWatchesPerAddress those of one
	// address (for IPv6, of one /64): they need no caller and may last.
	MaxWatches           int `yaml:"max_watches"`
	MaxWatchesPerAddress int `yaml:"max_watches_per_address"`
	// ReceiveTimeout is how long a caller may take to send a unary request, and
	// SendTimeout to take one message of a stream; then the call is ended.
	ReceiveTimeout time.Duration `yaml:"receive_timeout"`
	SendTimeout    time.Duration `yaml:"send_timeout"`
	// MinReceiveRate is how many bytes a second a stream of requests with one answer
	// must come with, and MinSendRate how many a caller must take of a stream of
	// answers, where it is waited for; each over a time that is as long as the
	// timeout. 0: each message has the timeout for itself, and of requests there is
	// none.
	MinReceiveRate config.Bytes `yaml:"min_receive_rate"`
	MinSendRate    config.Bytes `yaml:"min_send_rate"`
	// ConnectionTimeout bounds the handshake of a connection.
	ConnectionTimeout time.Duration `yaml:"connection_timeout"`
	// MaxConnectionIdle closes a connection without calls.
	MaxConnectionIdle time.Duration `yaml:"max_connection_idle"`
	// MaxConnectionAge closes a connection, gracefully within
	// MaxConnectionAgeGrace, so that clients spread over new servers. 0 is never.
	MaxConnectionAge      time.Duration `yaml:"max_connection_age"`
	MaxConnectionAgeGrace time.Duration `yaml:"max_connection_age_grace"`
	// KeepaliveTime is how long a silent connection is trusted before a ping,
	// and KeepaliveTimeout how long its answer may take.
	KeepaliveTime    time.Duration `yaml:"keepalive_time"`
	KeepaliveTimeout time.Duration `yaml:"keepalive_timeout"`
	// MinClientPing is the shortest time between a client's pings; a client that
	// pings more often is disconnected.
	MinClientPing time.Duration `yaml:"min_client_ping"`
	// Reflection lets clients ask which services there are.
	Reflection bool `yaml:"reflection"`
}

// DefaultConfig returns the defaults, listening on addr.
func DefaultConfig(addr string) Config {
	return Config{
		Addr:                  addr,
		TLS:                   tlsfiles.DefaultConfig(),
		MaxRecvBytes:          4 * config.MiB,
		MaxSendBytes:          16 * config.MiB,
		MaxHeaderBytes:        32 * config.KiB,
		MaxConnections:        2000,
		MaxConcurrentStreams:  1000,
		MaxWatches:            1000,
		MaxWatchesPerAddress:  100,
		ReceiveTimeout:        time.Minute,
		SendTimeout:           30 * time.Second,
		ConnectionTimeout:     10 * time.Second,
		MaxConnectionIdle:     15 * time.Minute,
		MaxConnectionAgeGrace: 5 * time.Minute,
		KeepaliveTime:         30 * time.Second,
		KeepaliveTimeout:      10 * time.Second,
		MinClientPing:         10 * time.Second,
		Reflection:            true,
	}
}

// Validate notes what is wrong with a port between services; prefix is the
// section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	c.TLS.Validate(p, prefix+".tls")
	c.ValidateBounds(p, prefix)
}

// ValidateBounds is Validate for a port whose section tls is judged elsewhere.
func (c Config) ValidateBounds(p *config.Problems, prefix string) {
	_, _, err := net.SplitHostPort(c.Addr)
	p.Check(err == nil, prefix+".addr", "must be host:port, got %q", c.Addr)
	p.Check(c.MaxRecvBytes >= config.KiB, prefix+".max_recv_bytes", "must be at least 1KiB, got %v", c.MaxRecvBytes)
	p.Check(c.MaxSendBytes >= config.KiB, prefix+".max_send_bytes", "must be at least 1KiB, got %v", c.MaxSendBytes)
	p.Check(c.MaxHeaderBytes >= 4*config.KiB && c.MaxHeaderBytes <= config.MiB, prefix+".max_header_bytes",
		"must be from 4KiB to 1MiB, got %v", c.MaxHeaderBytes)
	p.Check(c.MaxConcurrentStreams > 0, prefix+".max_concurrent_streams", "must be positive")
	p.Check(c.MaxConnections > 0, prefix+".max_connections", "must be positive, got %d", c.MaxConnections)
	p.Check(c.MaxWatches > 0, prefix+".max_watches", "must be positive, got %d", c.MaxWatches)
	p.Check(c.MaxWatchesPerAddress > 0, prefix+".max_watches_per_address", "must be positive, got %d", c.MaxWatchesPerAddress)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"receive_timeout", c.ReceiveTimeout},
		{"send_timeout", c.SendTimeout},
		{"connection_timeout", c.ConnectionTimeout},
		{"max_connection_idle", c.MaxConnectionIdle},
		{"max_connection_age_grace", c.MaxConnectionAgeGrace},
		{"keepalive_time", c.KeepaliveTime},
		{"keepalive_timeout", c.KeepaliveTimeout},
		{"min_client_ping", c.MinClientPing},
	} {
		p.Check(d.value > 0, prefix+"."+d.key, "must be positive, got %v", d.value)
	}
	p.Check(c.MinReceiveRate >= 0 && c.MinReceiveRate <= config.MiB, prefix+".min_receive_rate", "must be from 0 to 1MiB, got %v", c.MinReceiveRate)
	p.Check(c.MinSendRate >= 0 && c.MinSendRate <= config.MiB, prefix+".min_send_rate", "must be from 0 to 1MiB, got %v", c.MinSendRate)
	p.Check(c.MaxConnectionAge >= 0, prefix+".max_connection_age", "must not be negative, got %v", c.MaxConnectionAge)
}

// What may be on its way without a word from here, in bytes, on a stream and on a
// connection. Windows that gRPC makes as large as the line takes begin at 64 KiB, and
// cost a ping, its answer and two writes for nearly every message that comes alone.
const (
	streamWindow = 256 << 10
	connWindow   = 1 << 20
)

// direct is the bounds of calls on connections of package callwire, which leave half of all
// connections to others.
func (c Config) direct(chain Chain, slow func(ctx context.Context, side string)) callwire.ServerOptions {
	return callwire.ServerOptions{
		Unary: chain.Unary(), Stream: c.guardStream(chain.Stream(), slow), Guard: c.guard,
		MaxConnections: c.MaxConnections / 2, MinPing: c.MinClientPing, MaxRecvBytes: c.MaxRecvBytes.Int(), MaxSendBytes: c.MaxSendBytes.Int(),
		MaxHeadBytes: c.MaxHeaderBytes.Int(), Idle: c.MaxConnectionIdle, Age: c.MaxConnectionAge,
		Receive: c.ReceiveTimeout, Send: c.SendTimeout,
	}
}

func (c Config) options(chain Chain, slow func(ctx context.Context, side string)) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(c.MaxRecvBytes.Int()),
		grpc.MaxSendMsgSize(c.MaxSendBytes.Int()),
		grpc.MaxHeaderListSize(uint32(c.MaxHeaderBytes)),
		grpc.MaxConcurrentStreams(c.MaxConcurrentStreams),
		grpc.ConnectionTimeout(c.ConnectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle:     c.MaxConnectionIdle,
			MaxConnectionAge:      c.MaxConnectionAge,
			MaxConnectionAgeGrace: c.MaxConnectionAgeGrace,
			Time:                  c.KeepaliveTime,
			Timeout:               c.KeepaliveTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: c.MinClientPing, PermitWithoutStream: true,
		}),
		grpc.InTapHandle(c.guarded),
		grpc.UnaryInterceptor(guardUnary(chain.Unary())),
		grpc.StreamInterceptor(c.guardStream(knownOnly(chain), slow)),
		grpc.UnknownServiceHandler(unknown),
		grpc.WaitForHandlers(true),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		// Calls find a goroutine whose stack has grown already, which saves a
		// seventh of a small call; when all are busy, one is started as usual.
		grpc.NumStreamWorkers(uint32(16 * runtime.GOMAXPROCS(0))),
	}
}
