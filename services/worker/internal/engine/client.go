package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/requestid"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// The bounds on what an engine may send.
const (
	maxAnswerBytes = 64 << 20
	maxEventBytes  = 4 << 20
	maxErrorBytes  = 64 << 10
)

const (
	dialTimeout = 5 * time.Second
	// maxIdleConns is kept open to one engine; more are closed after use.
	maxIdleConns = 256
)

// dialect is in what engines that speak OpenAI's API differ.
type dialect struct {
	// base is the URL that OpenAI's paths follow, such as http://host:port/v1.
	base string
	// health is the URL that answers 200 when requests are served.
	health string
	// model is the name that the engine is asked for.
	model string
	key   config.Secret
	// idle is how long an unused connection is kept: less than the engine does,
	// or a request meets a connection that is being closed.
	idle    time.Duration
	embed   embedDialect
	facts   func(ctx context.Context, c *client) (Facts, error)
	proxied bool // go through the environment's HTTP proxy
	// running is how the engine tells the counts while it streams.
	running runningUsage
	// prefill is how it is given the beginning of its answer.
	prefill prefill
}

// client speaks OpenAI's API over HTTP.
type client struct {
	d       dialect
	http    *http.Client
	headers http.Header // of every request; read only
	model   []byte      // as JSON
}

func newClient(d dialect) *client {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost: maxIdleConns,
		IdleConnTimeout:     d.idle,
		DisableCompression:  true,
		TLSHandshakeTimeout: dialTimeout,
		// There is no limit on the time to the head of the answer: some engines
		// send it with the first token only. The call's deadline holds.
	}
	if d.proxied {
		t.Proxy = http.ProxyFromEnvironment
		t.ForceAttemptHTTP2 = true
	}
	h := http.Header{
		"Content-Type": {"application/json"},
		// An empty list sends nothing, and lets net/http repeat a request that met
		// a kept connection just when the engine closed it.
		"Idempotency-Key": {},
	}
	if d.key != "" {
		h.Set("Authorization", "Bearer "+d.key.Reveal())
	}
	c := &client{d: d, headers: h, model: quote(d.model)}
	c.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("engines do not redirect") // and the key must not follow one
	}}
	return c
}

// Close closes the connections that no request uses.
func (c *client) Close() { c.http.CloseIdleConnections() }

func (c *client) Health(ctx context.Context) error {
	_, err := c.get(ctx, c.d.health)
	return err
}

func (c *client) Facts(ctx context.Context) (Facts, error) {
	if c.d.facts == nil {
		return Facts{}, nil
	}
	return c.d.facts(ctx, c)
}

func (c *client) Invoke(ctx context.Context, op Operation, body []byte) (Answer, error) {
	p, err := c.prepare(body, false)
	if err != nil {
		return Answer{}, err
	}
	out, err := c.post(ctx, op.path(), p.body)
	if err != nil {
		return Answer{}, err
	}
	members, err := jsonbody.Get(out, "usage")
	if err != nil {
		return Answer{}, apierr.Wrap(apierr.EngineFailed, err, "the engine's answer is not a JSON object")
	}
	return Answer{Body: out, Usage: usageOf(members["usage"])}, nil
}

func (op Operation) path() string {
	if op == Completion {
		return "/completions"
	}
	return "/chat/completions"
}

// post sends body and returns the whole answer.
func (c *client) post(ctx context.Context, path string, body []byte) ([]byte, error) {
	resp, err := c.send(ctx, path, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return c.readAll(ctx, resp)
}

// send sends body and returns the response when its status is 200.
func (c *client) send(ctx context.Context, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.d.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the engine's address is wrong")
	}
	req.Header = c.headers
	if id := requestid.FromContext(ctx); id != "" {
		req.Header = c.headers.Clone()
		req.Header.Set("X-Request-Id", id)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, statusError(ctx, resp)
	}
	return resp, nil
}

func (c *client) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the engine's address is wrong")
	}
	req.Header = c.headers
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(ctx, resp)
	}
	return c.readAll(ctx, resp)
}

func (c *client) readAll(ctx context.Context, resp *http.Response) ([]byte, error) {
	if resp.ContentLength > maxAnswerBytes {
		return nil, errAnswerTooLarge()
	}
	var b bytes.Buffer
	b.Grow(int(max(resp.ContentLength, 0)) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(resp.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return nil, transportError(ctx, err)
	case n > maxAnswerBytes:
		return nil, errAnswerTooLarge()
	}
	return b.Bytes(), nil
}

func errAnswerTooLarge() error {
	return apierr.New(apierr.EngineFailed, "the engine's answer is larger than %d bytes", maxAnswerBytes)
}

// prepared is a request as the engine gets it.
type prepared struct {
	body  []byte
	asked asked
}

// asked is what of the counts the caller wants to see.
type asked struct {
	usage   bool // the chunk with the usage
	running bool // the counts in every chunk
	many    bool // more than one choice
}

// prepare sets what is the worker's to set and keeps the rest byte for byte.
func (c *client) prepare(body []byte, stream bool) (prepared, error) {
	set := []jsonbody.Member{{Name: "model", Value: c.model}}
	var p prepared
	if stream {
		options, asked, err := streamOptions(body, c.d.running)
		if err != nil {
			return prepared{}, err
		}
		p.asked = asked
		set = append(set, jsonbody.Member{Name: "stream", Value: []byte("true")},
			jsonbody.Member{Name: "stream_options", Value: options})
		if c.d.running == tellsTimings {
			set = append(set, jsonbody.Member{Name: timingsPerToken, Value: []byte("true")})
		}
	}
	drop := oursToSet
	if stream && c.d.running == tellsTimings {
		drop = func(name string) bool { return oursToSet(name) || name == timingsPerToken }
	}
	var err error
	p.body, err = jsonbody.Set(body, drop, set...)
	if err != nil {
		return prepared{}, badBody(err)
	}
	return p, nil
}

func oursToSet(name string) bool {
	return name == "model" || name == "stream" || name == "stream_options"
}

// streamOptions returns the caller's options with the counts asked for, and what
// the caller asked for.
func streamOptions(body []byte, running runningUsage) ([]byte, asked, error) {
	members, err := jsonbody.Get(body, "stream_options", timingsPerToken, "n")
	if err != nil {
		return nil, asked{}, badBody(err)
	}
	want := asked{many: !blank(members["n"]) && len(members["n"]) > 0 && string(members["n"]) != "1"}
	if running == tellsTimings {
		want.running = isTrue(members[timingsPerToken])
	}
	theirs := members["stream_options"]
	if len(theirs) == 0 || string(theirs) == "null" {
		theirs = []byte("{}")
	}
	inner, err := jsonbody.Get(theirs, includeUsage, continuousUsage)
	if err != nil {
		return nil, asked{}, apierr.Invalid("stream_options", "stream_options must be an object")
	}
	want.usage = isTrue(inner[includeUsage])
	set := []jsonbody.Member{{Name: includeUsage, Value: []byte("true")}}
	if running == tellsUsage {
		want.running = want.usage && isTrue(inner[continuousUsage])
		set = append(set, jsonbody.Member{Name: continuousUsage, Value: []byte("true")})
	}
	options, err := jsonbody.Set(theirs, func(name string) bool {
		return name == includeUsage || running == tellsUsage && name == continuousUsage
	}, set...)
	if err != nil {
		return nil, asked{}, badBody(err)
	}
	return options, want, nil
}

func isTrue(value []byte) bool { return string(value) == "true" }

// What asks for the counts: at the end, in every chunk as vLLM and SGLang have
// it, and in every chunk as llama-server has it.
const (
	includeUsage    = "include_usage"
	continuousUsage = "continuous_usage_stats"
	timingsPerToken = "timings_per_token" //nolint:gosec // a parameter, not a credential
)

func badBody(err error) error {
	return apierr.Wrap(apierr.InvalidArgument, err, "%s", err.Error())
}

func localURL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// plainName is a model's name without its version.
func plainName(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return name
}

var _ Engine = (*client)(nil)

func noUsage() *commonv1.TokenUsage { return &commonv1.TokenUsage{} }
