//go:build !embedded

package consul

import (
	"net"
	"net/http"
	"time"
)

// newTransport returns a transport for a handful of long queries to one agent.
// The time that a query may take is bounded by its context.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}
