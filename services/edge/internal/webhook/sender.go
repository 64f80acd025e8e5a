package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/plainhttp"
	"github.com/poterne/poterne/pkg/standardwebhook"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

const (
	// maxAnswer is how much of an answer is read: nothing of it is used.
	maxAnswer     = 4 << 10
	maxIdlePerOne = 1
	idleFor       = 30 * time.Second
	maxHeader     = 16 << 10
	// maxProblem bounds what is kept of why there was no answer.
	maxProblem = 256
)

// Result is what came of one attempt.
type Result struct {
	// Status is the answer's; 0: there was none, and Problem says why.
	Status  int
	Problem string
}

// OK reports whether the event was taken.
func (r Result) OK() bool { return r.Status >= 200 && r.Status < 300 }

// Sender sends events, signed. It is safe for concurrent use.
type Sender struct {
	guard   guard
	masters *envelope.Masters
	client  *http.Client
	timeout time.Duration
	overlap time.Duration // of secrets, where a rotation says nothing else
	clock   clock.Clock
}

// NewSender returns a sender; c must be valid, and have a key.
func NewSender(c Config, cl clock.Clock) (*Sender, error) {
	g, err := newGuard(c)
	if err != nil {
		return nil, err
	}
	masters, err := envelope.ParseMasters(c.Key, c.PreviousKeys...)
	if err != nil {
		return nil, fmt.Errorf("webhooks.key: %w", err)
	}
	dialer := &net.Dialer{Timeout: c.Timeout, Control: g.control}
	return &Sender{
		guard: g, masters: masters, timeout: c.Timeout, overlap: c.SecretOverlap, clock: cl,
		client: &http.Client{
			// No proxy: it would be the one who resolves names.
			Transport: plainhttp.Transport(&http.Transport{
				DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: c.Timeout,
				MaxIdleConnsPerHost: maxIdlePerOne, IdleConnTimeout: idleFor, MaxResponseHeaderBytes: maxHeader, ForceAttemptHTTP2: true,
			}),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close lets go of connections that wait.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send tells a webhook an event, once.
func (s *Sender) Send(ctx context.Context, h *Hook, id string, body []byte) Result {
	now := s.clock.Now()
	secrets, err := h.open(s.masters, now)
	if err != nil {
		return problem(errors.New("the secret cannot be read: it was sealed by a key that is not configured"))
	}
	if err := s.guard.url(h.URL); err != nil { // the configuration may have changed
		return problem(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return problem(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "poterne-webhooks/1")
	req.Header.Set(standardwebhook.HeaderID, id)
	req.Header.Set(standardwebhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	signatures := make([]string, len(secrets))
	for i := range secrets {
		signatures[i] = standardwebhook.Sign(secrets[i][:], id, now, body)
	}
	req.Header.Set(standardwebhook.HeaderSignature, strings.Join(signatures, " "))
	resp, err := s.client.Do(req)
	if err != nil {
		return problem(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // so that the connection can be used again
	return Result{Status: resp.StatusCode}
}

// problem says no more than its owner may know: where a name leads within the network
// is not told.
func problem(err error) Result {
	text := "the connection failed"
	var refused *addressError
	var wrong *tls.CertificateVerificationError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &refused):
		text = refused.Error()
	case errors.As(err, &wrong):
		text = "its certificate is not valid: " + wrong.Err.Error()
	case errors.As(err, &dns):
		text = "its name cannot be resolved"
	case errors.As(err, &timeout) && timeout.Timeout():
		text = "it did not answer in time"
	case !errors.As(err, new(*net.OpError)) && !errors.As(err, &timeout):
		text = err.Error()
	}
	return Result{Problem: text[:min(len(text), maxProblem)]}
}
