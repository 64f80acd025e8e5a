package fetch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/plainhttp"
)

// client sends requests. It follows redirects itself, because each hop must be
// allowed and none may see the credentials of another.
type client struct {
	http      *http.Client
	clock     clock.Clock
	idle      time.Duration // without a byte
	answer    time.Duration // for small answers, all of them
	redirects []string
}

func newClient(cfg Config, c clock.Clock) *client {
	dialer := &dialer{net.Dialer{Timeout: cfg.ConnectTimeout}}
	return &client{
		clock: c, idle: cfg.IdleTimeout, answer: cfg.HeaderTimeout, redirects: cfg.RedirectHosts,
		http: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: plainhttp.Transport(&http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dialer.dial,
				TLSHandshakeTimeout: cfg.ConnectTimeout, ResponseHeaderTimeout: cfg.HeaderTimeout,
				MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
				DisableCompression: true, ForceAttemptHTTP2: true,
			}),
		},
	}
}

// exchange is a request and what belongs to it.
type exchange struct {
	url    *url.URL
	header http.Header
	// authorise adds credentials; it is called for requests to the first origin
	// only, and not at all for one that would show them.
	authorise func(*http.Request) error
	// redirects is the hosts that may be sent on to, besides the client's; with
	// stay none are.
	redirects []string
	stay      bool
	// seen is shown the head of every answer, redirects among them.
	seen func(status int, header http.Header) error
}

const maxRedirects = 5

// do returns the first answer that is not a redirect. ctx must live as long as
// the body is read.
func (c *client) do(ctx context.Context, x exchange) (*http.Response, error) {
	for at, hops := x.url, 0; ; hops++ {
		resp, err := c.send(ctx, x, at)
		if err != nil {
			return nil, err
		}
		if x.seen != nil {
			if err := x.seen(resp.StatusCode, resp.Header); err != nil {
				discard(resp)
				return nil, err
			}
		}
		if !isRedirect(resp) {
			return resp, nil
		}
		next, err := resp.Location()
		discard(resp)
		switch {
		case err != nil:
			return nil, permanent(nil, "the answer redirects to no place")
		case hops == maxRedirects:
			return nil, permanent(nil, "more than %d redirects", maxRedirects)
		}
		if err := c.mayFollow(x, at, next); err != nil {
			return nil, err
		}
		at = next
	}
}

func (c *client) send(ctx context.Context, x exchange, at *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, permanent(nil, "the address cannot be asked")
	}
	req.Header = x.header.Clone()
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	req.Header.Set("User-Agent", "poterne-worker")
	if x.authorise != nil && sameOrigin(at, x.url) {
		if err := x.authorise(req); err != nil {
			return nil, err
		}
	}
	resp, err := c.http.Do(req)
	if refusedAddress(err) {
		return nil, permanent(bare(err), "%s is not asked", at.Host)
	}
	if err != nil {
		return nil, temporary(bare(err), "%s does not answer", at.Host)
	}
	return resp, nil
}

// bare takes the address off an error: its query may hold a signature.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func isRedirect(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	default:
		return false
	}
}

func (c *client) mayFollow(x exchange, from, to *url.URL) error {
	switch {
	case to.Scheme != SchemeHTTP && to.Scheme != SchemeHTTPS || to.Host == "" || to.User != nil:
		return permanent(nil, "%s redirects to what is not a plain http or https address", from.Host)
	case from.Scheme == SchemeHTTPS && to.Scheme == SchemeHTTP:
		return permanent(nil, "%s redirects from https to http, to %s", from.Host, to.Host)
	case x.stay && !sameOrigin(from, to),
		to.Host != x.url.Host && !hostIn(to.Host, c.redirects) && !hostIn(to.Host, x.redirects):
		return permanent(nil, "%s redirects to %s, which the configuration does not allow", from.Host, to.Host)
	default:
		return nil
	}
}

// small does x, and reads an answer of at most most bytes, or one more, within
// the time that answers have.
func (c *client) small(ctx context.Context, x exchange, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.answer)
	defer cancel()
	resp, err := c.do(ctx, x)
	if err != nil {
		return nil, err
	}
	defer discard(resp)
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, temporary(bare(err), "the answer was cut")
	}
	return data, nil
}

// discard reads a little, so that the connection can be used again.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
	_ = resp.Body.Close()
}

// watched is a body that must keep bringing something.
type watched struct {
	body   io.ReadCloser
	timer  clock.Timer
	idle   time.Duration
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // the life of one transfer
	done   chan struct{}
}

// open sends x and returns what r asks for. The transfer ends when it stalls.
func (c *client) open(ctx context.Context, x exchange, r Request) (*Content, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	x.header = rangeHeader(x.header, r)
	resp, err := c.do(ctx, x)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	content, err := contentOf(resp, r)
	if err != nil {
		discard(resp)
		cancel(nil)
		return nil, err
	}
	w := &watched{body: resp.Body, timer: c.clock.NewTimer(c.idle), idle: c.idle, cancel: cancel, ctx: ctx, done: make(chan struct{})}
	w.timer.Stop()
	go w.watch()
	content.Body = w
	return content, nil
}

func (w *watched) watch() {
	select {
	case <-w.timer.C():
		w.cancel(temporary(nil, "nothing came for %v", w.idle))
	case <-w.done:
	}
}

func (w *watched) Read(p []byte) (int, error) {
	// Only the source is held to its time: who reads may take theirs.
	w.timer.Reset(w.idle)
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		} else {
			err = temporary(bare(err), "the transfer was cut")
		}
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	close(w.done)
	w.cancel(nil)
	return w.body.Close()
}
