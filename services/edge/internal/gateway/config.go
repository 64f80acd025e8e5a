package gateway

import (
	"net"
	"net/url"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/webtls"
)

// Config is the section "http".
type Config struct {
	// Addr is the host:port of REST and SSE.
	Addr string `yaml:"addr"`
	// TLS says how the port is secured; by default a proxy before it does.
	TLS webtls.Config `yaml:"tls"`
	// MaxBodyBytes bounds a request's body.
	MaxBodyBytes config.Bytes `yaml:"max_body_bytes"`
	// MaxLineBytes bounds one line of an import, whose body has no bound.
	MaxLineBytes config.Bytes `yaml:"max_line_bytes"`
	// MaxHeaderBytes bounds a request's header.
	MaxHeaderBytes config.Bytes `yaml:"max_header_bytes"`
	// MaxConnections bounds the connections that are open at once; further ones
	// wait to be accepted.
	MaxConnections int `yaml:"max_connections"`
	// HeaderTimeout is how long a client may take to send a request's header, and
	// BodyTimeout its body, or the next part of one that is streamed.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	BodyTimeout   time.Duration `yaml:"body_timeout"`
	// WriteTimeout is how long a client may take to read the next part of an answer.
	// A client that reads slower is disconnected.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// MinBodyRate is how many bytes a second a streamed body must come with, and
	// MinAnswerRate how many a client must read, where it is waited for: over
	// body_timeout and write_timeout. Silence of ours counts for nobody. 0: each part
	// has the timeout for itself.
	MinBodyRate   config.Bytes `yaml:"min_body_rate"`
	MinAnswerRate config.Bytes `yaml:"min_answer_rate"`
	// IdleTimeout closes a connection without requests.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// KeepAlive is after how much silence a stream gets a comment line, so that
	// proxies do not close it.
	KeepAlive time.Duration `yaml:"keep_alive"`
	CORS      CORS          `yaml:"cors"`
}

// CORS says which web pages of other origins may call the API. Cookies count for
// the gateway's own pages only, so no credentials are allowed.
type CORS struct {
	// Origins are scheme://host[:port], or "*" for all; none turns CORS off.
	Origins []string `yaml:"origins"`
	// MaxAge is how long a browser may remember what is allowed.
	MaxAge time.Duration `yaml:"max_age"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Addr: "127.0.0.1:8080", MaxBodyBytes: 4 * config.MiB, MaxLineBytes: 12 * config.MiB, MaxHeaderBytes: 32 * config.KiB,
		MaxConnections: 10_000, HeaderTimeout: 10 * time.Second, BodyTimeout: 60 * time.Second,
		WriteTimeout: 30 * time.Second, MinBodyRate: 64, MinAnswerRate: 256, IdleTimeout: 2 * time.Minute, KeepAlive: 15 * time.Second,
		CORS: CORS{MaxAge: 10 * time.Minute}, TLS: webtls.DefaultConfig(),
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	_, _, err := net.SplitHostPort(c.Addr)
	p.Check(err == nil, prefix+".addr", "must be host:port, got %q", c.Addr)
	c.TLS.Validate(p, prefix+".tls")
	p.Check(c.MaxBodyBytes >= config.KiB && c.MaxBodyBytes <= 16*config.MiB, prefix+".max_body_bytes",
		"must be from 1KiB to 16MiB, got %v", c.MaxBodyBytes)
	p.Check(c.MaxLineBytes >= config.KiB && c.MaxLineBytes <= 16*config.MiB, prefix+".max_line_bytes",
		"must be from 1KiB to 16MiB, got %v", c.MaxLineBytes)
	p.Check(c.MaxHeaderBytes >= 4*config.KiB && c.MaxHeaderBytes <= config.MiB, prefix+".max_header_bytes",
		"must be from 4KiB to 1MiB, got %v", c.MaxHeaderBytes)
	p.Check(c.MinBodyRate >= 0 && c.MinBodyRate <= config.MiB, prefix+".min_body_rate", "must be from 0 to 1MiB, got %v", c.MinBodyRate)
	p.Check(c.MinAnswerRate >= 0 && c.MinAnswerRate <= config.MiB, prefix+".min_answer_rate", "must be from 0 to 1MiB, got %v", c.MinAnswerRate)
	p.Check(c.MaxConnections > 0, prefix+".max_connections", "must be positive, got %d", c.MaxConnections)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"header_timeout", c.HeaderTimeout},
		{"body_timeout", c.BodyTimeout},
		{"write_timeout", c.WriteTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"keep_alive", c.KeepAlive},
	} {
		p.Check(d.value > 0, prefix+"."+d.key, "must be positive, got %v", d.value)
	}
	p.Check(c.CORS.MaxAge >= 0, prefix+".cors.max_age", "must not be negative, got %v", c.CORS.MaxAge)
	for _, o := range c.CORS.Origins {
		u, err := url.Parse(o)
		ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Path == "" && u.RawQuery == ""
		p.Check(o == "*" || ok, prefix+".cors.origins", "must hold scheme://host[:port] or *, got %q", o)
	}
}
