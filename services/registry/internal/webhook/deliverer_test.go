package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/standardwebhook"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// The example of the specification's own libraries.
func TestSignature(t *testing.T) {
	key, err := standardwebhook.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := standardwebhook.Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []string{"", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_" + strings.Repeat("AAAA", 30)} {
		if _, err := standardwebhook.ParseSecret(bad); err == nil || bad != "" && bad != "whsec_" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	g := guard{}
	for _, a := range []string{
		"127.0.0.1", "10.1.2.3", "192.168.0.1", "172.31.0.1", "169.254.169.254", "100.100.100.200", "0.0.0.0", "224.0.0.1", "255.255.255.255",
		"::1", "::", "::ffff:10.0.0.1", "fe80::1", "fd00::1", "64:ff9b::a00:1", "2002:a00:1::", "2001::1", "168.63.129.16", "ff02::1",
	} {
		if g.allows(netip.MustParseAddr(a)) {
			t.Errorf("%s is sent to", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"} {
		if !g.allows(netip.MustParseAddr(a)) {
			t.Errorf("%s is not sent to", a)
		}
	}
	own := guard{[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	if !own.allows(netip.MustParseAddr("10.9.9.9")) || own.allows(netip.MustParseAddr("192.168.0.1")) {
		t.Error("an allowed range is not what is allowed")
	}
	for _, u := range []string{"ftp://a/", "https://", "https://u:p@example.org/", "/a", "https://a/#f", "http://[::1", "file:///etc/passwd"} {
		if CheckURL(u) == nil {
			t.Errorf("%s is taken", u)
		}
	}
}

// messages is a source of the messages of some webhooks.
type messages struct {
	mu       sync.Mutex
	waiting  map[string][]store.Message
	outcomes []store.Outcome
	err      error
}

func (s *messages) NextMessages(context.Context) ([]store.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []store.Message
	for _, list := range s.waiting {
		if len(list) > 0 {
			out = append(out, list[0])
		}
	}
	return out, nil
}

func (s *messages) Tried(_ context.Context, _ store.Fence, m store.Message, o store.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.outcomes = append(s.outcomes, o)
	if o.State == registryv1.DeliveryState_DELIVERY_STATE_PENDING {
		s.waiting[m.Webhook][0].Attempts++
		s.waiting[m.Webhook][0].Due = o.Next
	} else {
		s.waiting[m.Webhook] = s.waiting[m.Webhook][1:]
	}
	return nil
}

// receiver answers requests without a network.
type receiver func(w http.ResponseWriter, r *http.Request)

func (f receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	f(w, r)
	if w.Code == 0 {
		return nil, errors.New("connection refused")
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func deliverer(source Source, attempts int, r receiver) *Deliverer {
	d := New(source, Options{
		Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler), Poll: time.Second, Timeout: 10 * time.Second, Attempts: attempts,
		Version: "test", Tried: func(context.Context, registryv1.DeliveryState) {},
	})
	d.sender.http.Transport = r
	return d
}

func message(webhook string, revision int64) store.Message {
	return store.Message{
		Webhook: webhook, URL: "https://example.org/hook?token=hunter2", Secret: secret, ID: "msg", Revision: revision,
		Event: "alias.set", Model: "m", Actor: "default/ana", Time: time.Unix(1614265330, 0),
	}
}

// A receiver that is away gets its messages in order once it is back, each under
// one id, and one webhook does not wait for another.
func TestOrderAndRetries(t *testing.T) {
	const other = 9 // is the revision of the other webhook's message
	synctest.Test(t, func(t *testing.T) {
		source := &messages{waiting: map[string][]store.Message{"a": {message("a", 1), message("a", 2), message("a", 3)}, "b": {message("b", other)}}}
		var mu sync.Mutex
		var got []int64
		var others, failures int
		back := time.Now().Add(90 * time.Minute)
		d := deliverer(source, 10, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var p struct {
				Type string
				Data struct{ Revision int64 }
			}
			if err := json.Unmarshal(body, &p); err != nil || p.Type != "alias.set" {
				t.Errorf("body %s", body)
			}
			key, _ := standardwebhook.ParseSecret(secret)
			if r.Header.Get(standardwebhook.HeaderSignature) != standardwebhook.Sign(key, "msg", time.Now(), body) {
				t.Error("the signature is not that of the moment")
			}
			mu.Lock()
			defer mu.Unlock()
			if time.Now().Before(back) && others > 0 {
				failures++
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if time.Now().Before(back) {
				others++ // whoever comes first is taken
				got = append(got, 0)
				return
			}
			got = append(got, p.Data.Revision)
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx, store.Fence{}) }()
		<-time.After(12 * time.Hour)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if ordered := slices.DeleteFunc(slices.Clone(got), func(r int64) bool { return r == other }); !slices.IsSorted(ordered) || len(got) != 4 || failures < 5 || failures > 20 {
			t.Errorf("taken %v after %d failures", got, failures)
		}
	})
}

// A message whose try is noted while the messages are read is not sent again as it
// was read before.
func TestNotedWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		source := &slowly{messages: messages{waiting: map[string][]store.Message{"a": {message("a", 1)}}}, release: release}
		var sent atomic.Int64
		d := deliverer(source, 3, func(http.ResponseWriter, *http.Request) {
			sent.Add(1)
			<-release
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx, store.Fence{}) }()
		<-time.After(time.Minute)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if sent.Load() != 1 {
			t.Errorf("sent %d times", sent.Load())
		}
	})
}

// slowly hands out its second reading only after what was being sent is noted.
type slowly struct {
	messages

	reads   int
	release chan struct{}
}

func (s *slowly) NextMessages(ctx context.Context) ([]store.Message, error) {
	out, err := s.messages.NextMessages(ctx)
	if s.reads++; s.reads == 2 {
		close(s.release)
		<-time.After(time.Second)
	}
	return out, err
}

// What nobody takes is given up after the last try, in words without the address,
// and what comes after it is delivered.
func TestDeadLetters(t *testing.T) {
	tests := map[string]struct {
		receiver receiver
		tries    int
		gone     bool
		status   int
	}{
		"errors":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, 3, false, 500},
		"redirects":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, 3, false, 302},
		"gone":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }, 1, true, 410},
		"does not end": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 3, false, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &messages{waiting: map[string][]store.Message{"a": {message("a", 1)}}}
				d := deliverer(source, 3, tt.receiver)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- d.Run(ctx, store.Fence{}) }()
				<-time.After(time.Hour)
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
				if len(source.outcomes) != tt.tries {
					t.Fatalf("%d tries, want %d", len(source.outcomes), tt.tries)
				}
				last := source.outcomes[tt.tries-1]
				if last.State != registryv1.DeliveryState_DELIVERY_STATE_DEAD || last.Gone != tt.gone || last.Status != tt.status ||
					last.Error == "" || strings.Contains(last.Error, "hunter2") {
					t.Errorf("the last outcome is %+v", last)
				}
			})
		})
	}
}

// Who cannot note a try any more stops: somebody else may send by now.
func TestStopsWithoutTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &messages{waiting: map[string][]store.Message{"a": {message("a", 1)}}, err: errors.New("somebody else has the lease")}
		d := deliverer(source, 3, func(http.ResponseWriter, *http.Request) {})
		if err := d.Run(t.Context(), store.Fence{}); !errors.Is(err, source.err) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestPauses(t *testing.T) {
	for tries, least := range map[int]time.Duration{1: 5 * time.Second, 2: 20 * time.Second, 5: 1280 * time.Second, 19: 6 * time.Hour} {
		if got := pause(tries, 0); got < least || got > least*6/5 {
			t.Errorf("after %d tries: %v, want about %v", tries, got, least)
		}
	}
	if got := pause(1, time.Minute); got < time.Minute {
		t.Errorf("asked for a minute: %v", got)
	}
	if got := pause(1, 100*time.Hour); got > 8*time.Hour {
		t.Errorf("asked for days: %v", got)
	}
}
