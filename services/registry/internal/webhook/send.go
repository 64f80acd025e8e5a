package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/plainhttp"
	"github.com/poterne/poterne/pkg/standardwebhook"
	"github.com/poterne/poterne/services/registry/internal/store"
)

const (
	connectTimeout = 5 * time.Second
	maxAnswerBytes = 16 << 10
	maxHeaderBytes = 64 << 10
)

// payload is the body of a message.
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	Revision int64  `json:"revision"`
	Model    string `json:"model"`
	Actor    string `json:"actor,omitempty"`
}

// answer is what came of sending.
type answer struct {
	status     int
	problem    string // "" when the receiver took it
	retryAfter time.Duration
}

// sender sends messages over HTTP.
type sender struct {
	http    *http.Client
	clock   clock.Clock
	timeout time.Duration
	version string
}

// newSender returns a sender that reaches public addresses and the allowed ones.
// It follows no redirects, which would lead past whoever chose the address, and
// uses no proxy, which would dial in its place.
func newSender(c clock.Clock, timeout time.Duration, allowed []netip.Prefix, version string) *sender {
	dialer := newDialer(guard{allowed})
	return &sender{
		clock: c, timeout: timeout, version: version,
		http: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: plainhttp.Transport(&http.Transport{
				DialContext: dialer.DialContext, TLSHandshakeTimeout: connectTimeout, MaxResponseHeaderBytes: maxHeaderBytes,
				MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, DisableCompression: true, ForceAttemptHTTP2: true,
			}),
		},
	}
}

// send sends a message once.
func (s *sender) send(ctx context.Context, m store.Message) answer {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	key, err := standardwebhook.ParseSecret(m.Secret)
	if err != nil {
		return answer{problem: "the webhook's secret cannot be read"}
	}
	body, err := json.Marshal(payload{
		Type: m.Event, Timestamp: m.Time.UTC(), Data: data{Revision: m.Revision, Model: m.Model, Actor: m.Actor},
	})
	if err != nil {
		return answer{problem: "the message cannot be written"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL, bytes.NewReader(body))
	if err != nil {
		return answer{problem: "the URL cannot be asked"}
	}
	now := s.clock.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "poterne-registry/"+s.version)
	req.Header.Set(standardwebhook.HeaderID, m.ID)
	req.Header.Set(standardwebhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhook.HeaderSignature, standardwebhook.Sign(key, m.ID, now, body))
	resp, err := s.http.Do(req)
	if err != nil {
		return answer{problem: problemOf(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	// A little is read, so that the connection can be used again; nothing is kept.
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswerBytes)
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices {
		return answer{status: resp.StatusCode}
	}
	return answer{
		status: resp.StatusCode, problem: fmt.Sprintf("the receiver answered %d", resp.StatusCode), retryAfter: s.retryAfter(resp),
	}
}

// problemOf says why nothing was answered, without the address, whose query may
// hold a token.
func problemOf(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, errAddress):
		return errAddress.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "the receiver did not answer in time"
	case errors.As(err, &dns):
		return "the receiver's name cannot be resolved"
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return plain(err.Error())
}

// plain is an error as a text that every database keeps: it may repeat what the
// receiver sent, which may be anything.
func plain(text string) string {
	const most = 512
	text = strings.ToValidUTF8(text[:min(len(text), most)], "?")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
}

func (s *sender) retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 && seconds < 1<<20 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(s.clock.Now()))
	}
	return 0
}
