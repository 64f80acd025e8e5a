package mcpstdio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/poterne/poterne/pkg/plainhttp"
)

// maxRefusalBytes bounds an answer that is an error.
const maxRefusalBytes = 1 << 20

// RefusalError is an answer of the gateway that is no message of the protocol.
type RefusalError struct {
	// Status is HTTP's, Reason the gateway's word for it.
	Status          int
	Reason, Message string
}

// Error implements error.
func (r *RefusalError) Error() string { return r.Reason + ": " + r.Message }

// lasting says that asking again changes nothing.
func (r *RefusalError) lasting() bool {
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return true
	default:
		return false
	}
}

// reasonOf is what a client is told of err.
func reasonOf(err error, endpoint string) error {
	refusal, refused := errors.AsType[*RefusalError](err)
	switch {
	case refused:
		return refusal
	case errors.Is(err, context.Canceled):
		return errors.New("CANCELLED: the call was given up")
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("DEADLINE_EXCEEDED: the gateway did not answer in time")
	}
	if sending, ok := errors.AsType[*url.Error](err); ok {
		err = sending.Err // without the SDK's words around it
	}
	return fmt.Errorf("UNAVAILABLE: the gateway at %s cannot be asked: %w", endpoint, err)
}

// answered returns the gateway's own error of the protocol. What was not sent has one,
// too, which the SDK puts beside its cause.
func answered(err error) (*jsonrpc.Error, bool) {
	if _, refused := errors.AsType[*RefusalError](err); refused {
		return nil, false
	}
	if _, unsent := errors.AsType[*url.Error](err); unsent {
		return nil, false
	}
	return errors.AsType[*jsonrpc.Error](err)
}

// gateway is the other side: one session for all calls, made when it is needed. It is
// safe for concurrent use.
type gateway struct {
	client    *mcp.Client
	transport func() *mcp.StreamableClientTransport

	mu   sync.Mutex
	open *mcp.ClientSession
}

func newGateway(o Options, progressed func(context.Context, *mcp.ProgressNotificationClientRequest)) *gateway {
	sender := &http.Client{
		Transport: &bearer{key: o.Key, next: plainhttp.Transport(o.Transport), refused: o.Refused},
		// A key is for the gateway that it was given for, and nobody it points at.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &gateway{
		client: mcp.NewClient(&mcp.Implementation{Name: "poterne mcp", Version: o.Version}, &mcp.ClientOptions{
			Capabilities: &mcp.ClientCapabilities{}, Logger: slog.New(slog.DiscardHandler), ProgressNotificationHandler: progressed,
		}),
		transport: func() *mcp.StreamableClientTransport {
			return &mcp.StreamableClientTransport{Endpoint: o.Endpoint, HTTPClient: sender, DisableStandaloneSSE: true, MaxRetries: -1}
		},
	}
}

// session returns the session that is open, or opens one.
func (g *gateway) session(ctx context.Context) (*mcp.ClientSession, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		return g.open, nil
	}
	session, err := g.client.Connect(ctx, g.transport(), nil)
	if err != nil {
		return nil, err
	}
	g.open = session
	return session, nil
}

// drop closes a session that broke, once.
func (g *gateway) drop(session *mcp.ClientSession) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == session {
		g.open = nil
		_ = session.Close() // it is broken already
	}
}

func (g *gateway) close() {
	g.mu.Lock()
	session := g.open
	g.mu.Unlock()
	if session != nil {
		g.drop(session)
	}
}

// ask has the gateway asked. A session that an earlier call broke is replaced, and the
// call made again: with a session that was closed already, nothing of it was sent.
func ask[T any](ctx context.Context, g *gateway, call func(*mcp.ClientSession) (T, error)) (T, error) {
	for again := range 2 {
		session, err := g.session(ctx)
		if err != nil {
			var none T
			return none, err
		}
		result, err := call(session)
		if !errors.Is(err, mcp.ErrConnectionClosed) {
			return result, err
		}
		g.drop(session)
		if again == 1 {
			return result, err
		}
	}
	panic("unreachable")
}

// bearer shows the key, and makes errors of refusals, which the SDK's client would
// take for the end of its session without a word of why.
type bearer struct {
	key     string
	next    http.RoundTripper
	refused func(*http.Response) *RefusalError
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.key)
	resp, err := b.next.RoundTrip(r)
	if err != nil || resp.StatusCode < http.StatusMultipleChoices {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusalBytes))
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if isMessage(body) {
		return resp, nil
	}
	return nil, b.refused(resp)
}

// isMessage says whether body is one of the protocol: errors of it have bad statuses.
func isMessage(body []byte) bool {
	if !json.Valid(body) {
		return false
	}
	_, err := jsonrpc.DecodeMessage(body)
	return err == nil
}
