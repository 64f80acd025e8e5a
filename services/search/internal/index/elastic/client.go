package elastic

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/plainhttp"
)

const (
	// attempts is how often a call, or one item of a bulk, is tried, and
	// readAttempts a call that somebody waits for.
	attempts     = 5
	readAttempts = 3
	// readPause is the longest before the second attempt of the latter; it doubles.
	readPause = 50 * time.Millisecond
	// connectTimeout is how long a node may take to accept a connection. A machine
	// that is gone does not refuse one.
	connectTimeout = 500 * time.Millisecond
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 20
	// connections is how many idle ones are kept to each node: Go's own default
	// of two would open one for almost every search.
	connections = 64
)

// client makes calls with a deadline each. It is safe for concurrent use.
type client struct {
	write, read *elastictransport.Client
	http        *http.Transport
	timeout     time.Duration
	readTimeout time.Duration
	pause       time.Duration
	clock       clock.Clock
	breaker     breaker
	bodies      bodies
}

func newClient(o Options) (*client, error) {
	urls := make([]*url.URL, len(o.Addresses))
	for i, a := range o.Addresses {
		u, err := url.Parse(a)
		if err != nil {
			return nil, errors.New("elasticsearch index: an address is not a URL") // which may hold a password
		}
		urls[i] = u
	}
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("elasticsearch index: the default HTTP transport is not Go's")
	}
	c := &client{
		http: base.Clone(), timeout: o.Timeout, readTimeout: o.SearchTimeout, pause: o.Pause, clock: o.Clock, breaker: newBreaker(),
	}
	c.http.MaxIdleConnsPerHost, c.http.MaxIdleConns = connections, connections*max(1, len(urls))
	c.http.ResponseHeaderTimeout = o.Timeout
	c.http.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	if len(o.CACert) > 0 {
		// The library sets it for a transport of net/http's own only.
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(o.CACert) {
			return nil, errors.New("elasticsearch index: the CA certificate cannot be read")
		}
		c.http.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	var errs [2]error
	c.write, errs[0] = elastictransport.NewClient(o.transport(c.http, urls, attempts, o.Pause)...)
	c.read, errs[1] = elastictransport.NewClient(o.transport(c.http, urls, readAttempts, readPause)...)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("elasticsearch index: %w", err)
	}
	return c, nil
}

func (o *Options) transport(rt http.RoundTripper, urls []*url.URL, attempts int, pause time.Duration) []elastictransport.Option {
	out := []elastictransport.Option{
		elastictransport.WithURLs(urls...), elastictransport.WithTransport(plainhttp.Transport(rt)),
		// 429 is not among the client's own.
		elastictransport.WithRetryOnStatus(
			http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout),
		elastictransport.WithMaxRetries(attempts - 1),
		elastictransport.WithRetryBackoff(func(attempt int) time.Duration { return backoff(pause, attempt) }),
	}
	if o.Username != "" {
		out = append(out, elastictransport.WithBasicAuth(o.Username, o.Password))
	}
	if o.APIKey != "" {
		out = append(out, elastictransport.WithAPIKey(o.APIKey))
	}
	return out
}

// backoff is the pause before an attempt, which doubles, and half of which is
// left to chance so that many callers do not come back in step.
func backoff(pause time.Duration, attempt int) time.Duration {
	d := pause << max(0, attempt-1)
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter is no secret
}

// statusError is an answer that is not a success. What the server says of it is
// left out: it may repeat what documents hold.
type statusError struct {
	status int
	kind   string
}

func (e *statusError) Error() string {
	if e.kind == "" {
		return fmt.Sprintf("elasticsearch answers %d", e.status)
	}
	return fmt.Sprintf("elasticsearch answers %d: %.100s", e.status, e.kind)
}

func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && e.status == status
}

// do makes one call that changes something, or that only those who change
// something wait for, and reads its answer into out, which may be nil.
func (c *client) do(ctx context.Context, what string, req esapi.Request, out any) error {
	return c.call(ctx, c.write, c.timeout, what, req, out)
}

// ask makes one call of a search. It gives up sooner than do.
func (c *client) ask(ctx context.Context, what string, req esapi.Request, out any) error {
	return c.call(ctx, c.read, c.readTimeout, what, req, out)
}

func (c *client) call(ctx context.Context, by esapi.Transport, timeout time.Duration, what string, req esapi.Request, out any) error {
	err := c.breaker.do(func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, errSlow)
		defer cancel()
		err := perform(ctx, by, req, out)
		if err != nil && errors.Is(context.Cause(ctx), errSlow) { // the cluster's fault and not the caller's
			return fmt.Errorf("%w: %v", errSlow, timeout)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("elasticsearch index: %s: %w", what, err)
	}
	return nil
}

func perform(ctx context.Context, by esapi.Transport, req esapi.Request, out any) error {
	resp, err := req.Do(ctx, by)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	case len(body) > maxAnswer:
		return fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	case resp.StatusCode >= http.StatusMultipleChoices:
		return &statusError{status: resp.StatusCode, kind: kindOf(body)}
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// kindOf returns the type of the error that an answer tells.
func kindOf(body []byte) string {
	var told struct {
		Error failure `json:"error"`
	}
	if json.Unmarshal(body, &told) != nil { // a proxy's answer, or a missing document's
		return ""
	}
	return told.Error.kind()
}

// failure is an error as Elasticsearch tells it, as far as it is used.
type failure struct {
	Type      string `json:"type"`
	RootCause []struct {
		Type string `json:"type"`
	} `json:"root_cause"`
}

// kind returns the type of what went wrong first.
func (f failure) kind() string {
	if len(f.RootCause) > 0 && f.RootCause[0].Type != "" {
		return f.RootCause[0].Type
	}
	return f.Type
}

func (c *client) close() { c.http.CloseIdleConnections() }
