package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// oracle is an authorisation server that knows tokens by their texts.
type oracle struct {
	*Introspector

	t     *testing.T
	clock *clock.Fake
	asked atomic.Int64
	mu    sync.Mutex
	says  map[string]string // answers by token
	away  bool
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	o := &oracle{t: t, clock: clock.NewFake(start()), says: make(map[string]string)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		o.mu.Lock()
		defer o.mu.Unlock()
		id, secret, _ := r.BasicAuth()
		switch {
		case o.away:
			w.WriteHeader(http.StatusServiceUnavailable)
		case id != "edge%3A1" || secret != "a%2Bb":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			text, ok := o.says[r.PostFormValue("token")]
			if !ok {
				text = `{"active":false}`
			}
			_, _ = w.Write([]byte(text))
		}
	}))
	t.Cleanup(server.Close)
	cfg := DefaultConfig()
	cfg.Introspection = IntrospectionConfig{URL: server.URL, ClientID: "edge:1", ClientSecret: "a+b", Audiences: []string{"poterne"}}
	cfg.Complete()
	var p config.Problems
	cfg.Validate(&p, "tokens")
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	var err error
	o.Introspector, err = NewIntrospector(cfg.Introspection, 100, Options{Clock: o.clock, Transport: http.DefaultTransport, PlatformTenant: "default"})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *oracle) set(token, says string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.says[token] = says
}

func (o *oracle) cause(token string) authn.Cause {
	o.t.Helper()
	_, err := o.Authenticate(o.t.Context(), token)
	var r *authn.RefusedError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &r):
		return r.Cause
	case apierr.ReasonOf(err) == apierr.Unavailable && !strings.Contains(err.Error(), token):
		return "away"
	default:
		o.t.Fatal(err)
		return ""
	}
}

func TestIntrospection(t *testing.T) {
	o := newOracle(t)
	exp := strconv.FormatInt(start().Add(time.Hour).Unix(), 10)
	for name, tt := range map[string]struct {
		says string
		want authn.Cause
	}{
		"good":           {`{"active":true,"aud":"poterne","sub":"ana","tenant":"acme","exp":` + exp + `}`, ""},
		"without an end": {`{"active":true,"aud":["poterne"],"sub":"ana","tenant":"acme"}`, ""},
		"not active":     {`{"active":false}`, authn.Unknown},
		"active as text": {`{"active":"true","aud":"poterne","sub":"ana","tenant":"acme"}`, authn.Unknown},
		"nothing":        {`{}`, authn.Unknown},
		"ended":          {`{"active":true,"aud":"poterne","sub":"ana","tenant":"acme","exp":1}`, authn.Expired},
		"for others":     {`{"active":true,"aud":"x","sub":"ana","tenant":"acme"}`, authn.Foreign},
		"for nobody":     {`{"active":true,"sub":"ana","tenant":"acme"}`, authn.Foreign},
		"no tenant":      {`{"active":true,"aud":"poterne","sub":"ana"}`, authn.Foreign},
		"the platform":   {`{"active":true,"aud":"poterne","sub":"ana","tenant":"default"}`, authn.Foreign},
		"active twice":   {`{"active":false,"active":true}`, "away"},
		"no object":      {`true`, "away"},
		"endless":        {`{"active":true,"aud":"poterne","sub":"ana","tenant":"acme","x":"` + strings.Repeat("x", maxAnswerBytes) + `"}`, "away"},
	} {
		token := "opaque-" + strings.ReplaceAll(name, " ", "-") + "-0123456789"
		o.set(token, tt.says)
		if got := o.cause(token); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	for text, want := range map[string]bool{
		"opaque-0123456789abc==": true, "short": false, "with a space 0123456": false, "=mid=dle0123456789ab": false, "é0123456789abcdefghi": false,
	} {
		if o.Recognises(text) != want {
			t.Errorf("%q: recognised %v", text, !want)
		}
	}
}

// An answer is remembered for as long as it may be, and no longer; refusals too,
// for a short while; and a server that is away is not an answer.
func TestIntrospectionIsRemembered(t *testing.T) {
	o := newOracle(t)
	const token = "opaque-token-0123456789"
	good := `{"active":true,"aud":"poterne","sub":"ana","tenant":"acme"}`
	step := func(name string, want authn.Cause, asked int64) {
		t.Helper()
		if got := o.cause(token); got != want || o.asked.Load() != asked {
			t.Errorf("%s: %q after %d questions, want %q after %d", name, got, o.asked.Load(), want, asked)
		}
	}
	step("unknown", authn.Unknown, 1)
	o.set(token, good)
	step("still remembered", authn.Unknown, 1)
	o.clock.Advance(refusedFor)
	step("asked again", "", 2)
	o.set(token, `{"active":false}`)
	o.clock.Advance(59 * time.Second)
	step("remembered", "", 2)
	o.clock.Advance(time.Second)
	step("taken back", authn.Unknown, 3)
	o.clock.Advance(refusedFor)
	o.mu.Lock()
	o.away = true
	o.mu.Unlock()
	step("away", "away", 4)
}

// Requests with one token ask once, and one that gives up takes no other with it.
func TestIntrospectionInOneFlight(t *testing.T) {
	o := newOracle(t)
	const token = "opaque-token-0123456789"
	o.set(token, `{"active":true,"aud":"poterne","sub":"ana","tenant":"acme"}`)
	o.mu.Lock() // the server does not answer yet
	ctx, cancel := context.WithCancel(t.Context())
	var wg, first sync.WaitGroup
	first.Go(func() {
		if _, err := o.Authenticate(ctx, token); !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
	})
	for o.asked.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	for range 20 {
		wg.Go(func() {
			if _, err := o.Authenticate(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	<-time.After(20 * time.Millisecond)
	cancel()
	first.Wait()
	o.mu.Unlock()
	wg.Wait()
	if n := o.asked.Load(); n > 2 {
		t.Errorf("asked %d times", n)
	}
}
