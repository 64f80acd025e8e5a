package engine

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/poterne/poterne/pkg/plainhttp"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/services/worker/internal/httpwire"
)

// openNear prepares the short way to an engine that speaks plain HTTP where the worker
// is, or beside it. What it cannot do is left to net/http.
func (c *client) openNear() {
	u, err := url.Parse(c.d.base)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Hostname() == "" || c.d.proxied {
		return
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "80")
	}
	near, err := httpwire.New(httpwire.Options{
		Addr: addr, Host: u.Host, Header: c.headers, DialTimeout: dialTimeout, Idle: c.d.idle, MaxIdle: maxIdleConns, ReadBuffer: readBuffer,
	})
	if err != nil {
		return // net/http says what is wrong with each request
	}
	c.near, c.origin = near, "http://"+u.Host
}

// nearby returns the path of a request that can go the short way.
func (c *client) nearby(url string, body []byte) (path string, ok bool) {
	if c.near == nil || len(body) > httpwire.MaxBody {
		return "", false
	}
	path, ok = strings.CutPrefix(url, c.origin)
	return path, ok && strings.HasPrefix(path, "/")
}

// nearPost is a request that goes the short way.
func nearPost(ctx context.Context, path string, body []byte) httpwire.Request {
	return httpwire.Request{Method: http.MethodPost, Path: path, ID: requestid.FromContext(ctx), Body: body}
}

// askNear sends a request the short way, and returns the response when its status is 200.
func (c *client) askNear(ctx context.Context, r httpwire.Request) (*http.Response, error) {
	resp, err := c.near.Do(ctx, r)
	return answered(ctx, resp, err)
}

// answered returns the response when there is one and its status is 200.
func answered(ctx context.Context, resp *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, transportError(ctx, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp, nil
	case http.StatusSwitchingProtocols: // the rest of the connection, which has no end
		_ = resp.Body.Close()
		return nil, transportError(ctx, plainhttp.ErrSwitched)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		_ = resp.Body.Close()
		return nil, transportError(ctx, errRedirect)
	}
	return nil, statusError(ctx, resp)
}
