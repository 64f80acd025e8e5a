package elastic_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/elastic"
)

// What an operator has to mend is told, also while the breaker holds calls back.
func TestARefusalSaysWhatToMend(t *testing.T) {
	n := newNode(t)
	s := httptest.NewTLSServer(n)
	defer s.Close()
	for name, c := range map[string]struct {
		url    string
		status int
		want   string
	}{
		"authority":   {s.URL, 0, "ca_file"},
		"no TLS":      {"https" + strings.TrimPrefix(n.url, "http"), 0, "does not speak TLS"},
		"credentials": {n.url, http.StatusUnauthorized, "credentials"},
		"rights":      {n.url, http.StatusForbidden, "manage, read and write"},
	} {
		t.Run(name, func(t *testing.T) {
			n.set(func() {
				n.trouble = func(w http.ResponseWriter, _ *http.Request, _ string, _ int) bool {
					w.WriteHeader(c.status)
					return true
				}
			})
			x, err := elastic.New(elastic.Options{Addresses: []string{c.url}, Prefix: "p", Timeout: 5 * time.Second, Pause: time.Millisecond, Clock: clock.Real()})
			if err != nil {
				t.Fatal(err)
			}
			for range 10 { // the breaker opens after three
				_, err := x.Names(t.Context())
				refused, ok := errors.AsType[*index.RefusedError](err)
				if !ok || !strings.Contains(refused.Why, c.want) {
					t.Fatalf("got %v", err)
				}
			}
		})
	}
}

// Which analysers the cluster has is told, and that nobody may see it is no
// outage.
func TestTheClustersAnalysersAreLookedFor(t *testing.T) {
	n := newNode(t)
	status := http.StatusBadRequest
	n.trouble = func(w http.ResponseWriter, _ *http.Request, last string, times int) bool {
		if last != "_analyze" || status == http.StatusBadRequest && times == 1 { // english comes first
			return false
		}
		w.WriteHeader(status)
		return true
	}
	x, err := elastic.New(elastic.Options{Addresses: []string{n.url}, Prefix: "p", Timeout: 5 * time.Second, Pause: time.Millisecond, Clock: clock.Real()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := x.Analysers(t.Context())
	if err != nil || !maps.Equal(got, elastic.Analysers{"english": true, "french": false}) {
		t.Errorf("got %v, %v", got, err)
	}
	status = http.StatusForbidden
	if _, err := x.Analysers(t.Context()); !elastic.MayNotLook(err) {
		t.Errorf("got %v", err)
	}
	status = http.StatusUnauthorized
	if _, err := x.Analysers(t.Context()); err == nil || elastic.MayNotLook(err) {
		t.Errorf("got %v", err)
	}
}
