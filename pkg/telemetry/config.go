package telemetry

import (
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "telemetry" of every service.
type Config struct {
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
	// LogFormat is json or text.
	LogFormat string `yaml:"log_format"`
	// OTLPEndpoint is where traces and metrics are sent: host:port or a URL, to
	// which http adds /v1/traces and /v1/metrics. Empty sends nothing; metrics
	// are on the ops port in any case.
	OTLPEndpoint string `yaml:"otlp_endpoint"`
	// OTLPProtocol is grpc or http.
	OTLPProtocol string `yaml:"otlp_protocol"`
	// OTLPInsecure sends without TLS.
	OTLPInsecure bool `yaml:"otlp_insecure"`
	// OTLPInterval is the time between two exports of metrics.
	OTLPInterval time.Duration `yaml:"otlp_interval"`
	// SampleRatio is the share of traces that begin here and are recorded, 0 to
	// 1. A trace that a caller began follows the caller's decision.
	SampleRatio float64 `yaml:"sample_ratio"`
	// OpsAddr is the host:port of metrics, health and profiles. It shows
	// internals and asks for no credentials: keep it off public networks.
	OpsAddr string `yaml:"ops_addr"`
}

// DefaultConfig returns the defaults, with the ops port at opsAddr.
func DefaultConfig(opsAddr string) Config {
	return Config{
		LogLevel: "info", LogFormat: "json", OTLPProtocol: "grpc",
		OTLPInterval: 30 * time.Second, SampleRatio: 1, OpsAddr: opsAddr,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	if _, err := c.level(); err != nil {
		p.Add(prefix+".log_level", "must be debug, info, warn or error, got %q", c.LogLevel)
	}
	p.Check(c.LogFormat == "json" || c.LogFormat == "text", prefix+".log_format",
		"must be json or text, got %q", c.LogFormat)
	p.Check(c.OTLPProtocol == "grpc" || c.OTLPProtocol == "http", prefix+".otlp_protocol",
		"must be grpc or http, got %q", c.OTLPProtocol)
	p.Check(c.OTLPInterval > 0, prefix+".otlp_interval", "must be positive, got %v", c.OTLPInterval)
	p.Check(c.SampleRatio >= 0 && c.SampleRatio <= 1, prefix+".sample_ratio",
		"must be from 0 to 1, got %v", c.SampleRatio)
	if c.OpsAddr != "" {
		_, _, err := net.SplitHostPort(c.OpsAddr)
		p.Check(err == nil, prefix+".ops_addr", "must be host:port, got %q", c.OpsAddr)
	}
	if c.OTLPEndpoint != "" {
		u, err := url.Parse(c.endpointURL())
		p.Check(err == nil && u.Host != "", prefix+".otlp_endpoint", "must be host:port or a URL, got %q", c.OTLPEndpoint)
	}
}

func (c Config) level() (slog.Level, error) {
	var l slog.Level
	err := l.UnmarshalText([]byte(c.LogLevel))
	return l, err
}

// endpointURL returns the endpoint as a URL; its scheme says whether to use TLS.
func (c Config) endpointURL() string {
	if strings.Contains(c.OTLPEndpoint, "://") {
		return c.OTLPEndpoint
	}
	if c.OTLPInsecure {
		return "http://" + c.OTLPEndpoint
	}
	return "https://" + c.OTLPEndpoint
}

// signalURL returns where OTLP over HTTP sends one kind of signal.
func (c Config) signalURL(signal string) string {
	return strings.TrimSuffix(c.endpointURL(), "/") + "/v1/" + signal
}
