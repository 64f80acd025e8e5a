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
	"github.com/poterne/poterne/pkg/jsonwalk"
	"github.com/poterne/poterne/pkg/plainhttp"
	"github.com/poterne/poterne/pkg/requestid"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/httpwire"
	"github.com/poterne/poterne/services/worker/internal/sse"
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
	// readBuffer is what is read at once of a stream: chunks that have arrived leave
	// together.
	readBuffer = 16 << 10
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
	idle  time.Duration
	embed embedDialect
	// rerank is empty for engines that do not score documents.
	rerank rerankDialect
	facts  func(ctx context.Context, c *client) (Facts, error)
	// signals and tokenize are nil for engines that have no such call.
	signals  func(ctx context.Context, c *client) (Signals, error)
	tokenize func(ctx context.Context, c *client, q question) (int, error)
	// oldLimit says that the engine does not know max_completion_tokens.
	oldLimit bool
	// timeout bounds a request as a whole; 0 leaves that to its caller.
	timeout time.Duration
	proxied bool // go through the environment's HTTP proxy
	// running is how the engine tells the counts while it streams.
	running runningUsage
	// context is the most tokens of a prompt or an answer; 0 where that is not known.
	context int
	// impossible is Model.Impossible.
	impossible func(ctx context.Context)
	// prefill is how it is given the beginning of its answer.
	prefill prefill
}

// client speaks OpenAI's API over HTTP.
type client struct {
	d       dialect
	http    *http.Client
	headers http.Header // of every request; read only
	model   []byte      // as JSON
	readers sse.Readers // of streams
	shapes  shapes      // of their chunks
	// near, if not nil, is used for what begins with origin.
	near   *httpwire.Client
	origin string
}

func newClient(d dialect) *client {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost: maxIdleConns,
		IdleConnTimeout:     d.idle,
		DisableCompression:  true,
		ReadBufferSize:      readBuffer,
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
	c.http = &http.Client{Transport: plainhttp.Transport(t), CheckRedirect: func(*http.Request, []*http.Request) error {
		return errRedirect // and the key must not follow one
	}}
	c.openNear()
	return c
}

var errRedirect = errors.New("engines do not redirect")

// Close closes the connections that no request uses.
func (c *client) Close() {
	c.http.CloseIdleConnections()
	if c.near != nil {
		c.near.Close()
	}
}

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
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	p, err := c.prepare(op, body, false)
	if err != nil {
		return Answer{}, err
	}
	out, err := c.post(ctx, op.path(), p.body)
	if err != nil {
		return Answer{}, err
	}
	answer, ok := scan(out)
	if !ok || !jsonwalk.Valid(out) {
		return Answer{}, apierr.New(apierr.EngineFailed, "the engine's answer is not a JSON object")
	}
	switch {
	case answer.has(answer.failure): // some say so with 200
		return Answer{}, streamError(decodeEngineError(out), false)
	case !answer.has(answer.choices):
		return Answer{}, apierr.New(apierr.EngineFailed, "the engine's answer has no choices")
	}
	return c.answer(ctx, out, &answer, p.limits)
}

func (op Operation) path() string {
	if op == Completion {
		return "/completions"
	}
	return "/chat/completions"
}

// bounded ends a request that takes longer than this engine is given.
func (c *client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.d.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, c.d.timeout,
		apierr.New(apierr.DeadlineExceeded, "the engine took longer than the %v that this worker gives it", c.d.timeout))
}

// post sends body to one of OpenAI's paths and returns the whole answer.
func (c *client) post(ctx context.Context, path string, body []byte) ([]byte, error) {
	return c.postURL(ctx, c.d.base+path, body)
}

func (c *client) postURL(ctx context.Context, url string, body []byte) ([]byte, error) {
	resp, whole, err := c.sendWhole(ctx, url, body)
	if err != nil || whole != nil {
		return whole, err
	}
	defer func() { _ = resp.Body.Close() }()
	return c.readAll(ctx, resp, maxAnswerBytes)
}

// sendWhole is send, which may have read the answer's body already.
func (c *client) sendWhole(ctx context.Context, url string, body []byte) (resp *http.Response, whole []byte, err error) {
	path, ok := c.nearby(url, body)
	if !ok {
		resp, err = c.send(ctx, url, body)
		return resp, nil, err
	}
	resp, whole, err = c.near.Whole(ctx, nearPost(ctx, path, body), maxAnswerBytes)
	if whole == nil {
		resp, err = answered(ctx, resp, err)
	}
	return resp, whole, err
}

// send sends body and returns the response when its status is 200.
func (c *client) send(ctx context.Context, url string, body []byte) (*http.Response, error) {
	if path, ok := c.nearby(url, body); ok {
		return c.askNear(ctx, nearPost(ctx, path, body))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the engine's address is wrong")
	}
	req.Header = c.headers
	if id := requestid.FromContext(ctx); id != "" {
		req.Header = c.headers.Clone()
		req.Header.Set("X-Request-Id", id)
	}
	resp, err := c.http.Do(req)
	return answered(ctx, resp, err)
}

func (c *client) get(ctx context.Context, url string) ([]byte, error) {
	return c.getAtMost(ctx, url, maxAnswerBytes)
}

// getAtMost refuses an answer of more than limit bytes.
func (c *client) getAtMost(ctx context.Context, url string, limit int64) ([]byte, error) {
	resp, err := c.fetch(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return c.readAll(ctx, resp, limit)
}

func (c *client) fetch(ctx context.Context, url string) (*http.Response, error) {
	if path, ok := c.nearby(url, nil); ok {
		return c.askNear(ctx, httpwire.Request{Method: http.MethodGet, Path: path})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the engine's address is wrong")
	}
	req.Header = c.headers
	resp, err := c.http.Do(req)
	return answered(ctx, resp, err)
}

func (c *client) readAll(ctx context.Context, resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, errAnswerTooLarge(limit)
	}
	if resp.ContentLength >= 0 {
		whole := make([]byte, resp.ContentLength)
		if _, err := io.ReadFull(resp.Body, whole); err != nil {
			return nil, transportError(ctx, err)
		}
		return whole, nil
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, transportError(ctx, err)
	case n > limit:
		return nil, errAnswerTooLarge(limit)
	}
	return b.Bytes(), nil
}

func errAnswerTooLarge(limit int64) error {
	return apierr.New(apierr.EngineFailed, "the engine's answer is larger than %d bytes", limit)
}

func localURL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// plainName is a model's name without its version.
func plainName(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return name
}

var _ Engine = (*client)(nil)

func noUsage() *commonv1.TokenUsage { return &commonv1.TokenUsage{} }
