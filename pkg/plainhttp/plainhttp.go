// Package plainhttp keeps HTTP clients from answers that change the protocol. The body
// that net/http gives such an answer is the connection itself: it does not end with the
// request's context or with the client's timeout, so that who reads it, if only the words
// of an error, may wait for ever. A client that asks for no other protocol should take
// none.
package plainhttp

import (
	"errors"
	"net/http"
)

// ErrSwitched says that a server changed the protocol unasked (RFC 9110, section 15.2.2).
var ErrSwitched = errors.New("the server changed to another protocol unasked")

// Transport returns a transport that sends requests by next (nil: http.DefaultTransport)
// and has ErrSwitched in place of an answer of 101, whose connection it closes. It is safe
// for concurrent use as far as next is.
func Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return transport{next}
}

type transport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close()
		return nil, ErrSwitched
	}
	return resp, err
}

// CloseIdleConnections is what http.Client looks for.
func (t transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
