package edge_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/auditproof"
)

// witness takes checkpoints once it has been away.
type witness struct {
	mu    sync.Mutex
	asked int
	notes []string
	came  chan struct{}
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked++; w.asked == 1 {
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	body, _ := io.ReadAll(r.Body)
	w.notes = append(w.notes, string(body))
	select {
	case w.came <- struct{}{}:
	default:
	}
}

func TestAuditIsVerifiedAndExported(t *testing.T) {
	w := &witness{came: make(chan struct{}, 1)}
	server := httptest.NewServer(w)
	defer server.Close()
	g := open(t, func(c *edge.Config) {
		c.Security.Audit.Checkpoints.Witness, c.Security.Audit.Checkpoints.Interval = config.SecretURL(server.URL), 100*time.Millisecond
	})
	g.run()
	a := g.do("POST", "/v1/admin/api-keys", `{"name":"their admin","tenant":"acme","subject":"ada","roles":["admin"]}`)
	theirs := []string{"Authorization", "Bearer " + text(a.at("key"))}
	g.do("GET", "/v1/admin/api-keys", "", theirs...)
	<-w.came

	if a := g.do("POST", "/v1/admin/audit:verify", "{}"); a.at("intact") != true || a.at("finding_count") != 0.0 || a.at("records") == 0.0 {
		t.Errorf("verify: %s", a.text)
	}
	w.mu.Lock()
	cp, err := auditproof.ReadCheckpoint(w.notes[0])
	w.mu.Unlock()
	if err != nil || cp.Chain == "" {
		t.Errorf("the witness got %+v, %v", cp, err)
	}
	for _, path := range []string{"/v1/admin/audit/keys", "/v1/admin/audit:export?proof=true"} {
		if a := g.do("GET", path, "", theirs...); a.status != 403 {
			t.Errorf("another tenant's administrator gets %d %s from %s", a.status, a.text, path)
		}
	}
	if a := g.do("POST", "/v1/admin/audit:verify", "{}", theirs...); a.status != 403 {
		t.Errorf("another tenant's administrator may verify: %d", a.status)
	}
	csv := g.do("GET", "/v1/admin/audit:export?format=csv", "", theirs...)
	if lines := strings.Split(strings.TrimSpace(csv.text), "\n"); csv.status != 200 || len(lines) < 2 || strings.Contains(csv.text, ",default,") ||
		!strings.Contains(csv.text, ",ada,") {
		t.Errorf("another tenant's export: %d %s", csv.status, csv.text)
	}
	for _, path := range []string{
		"/v1/admin/audit:export?format=xml", "/v1/admin/audit:export?what=1", "/v1/admin/audit:export?proof=maybe",
		"/v1/admin/audit:export?filter=foo%3D1", "/v1/admin/audit?filter=)", "/v1/admin/audit:export?proof=true&format=csv",
	} {
		if a := g.do("GET", path, ""); a.status != 400 {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	got := g.do("GET", `/v1/admin/audit?filter=decision%3D%22refused%22%20AND%20tenant%3D%22acme%22`, "")
	if refused, _ := got.at("records").([]any); len(refused) != 3 || got.at("records", 0, "error_reason") != "PERMISSION_DENIED" {
		t.Errorf("refusals: %s", got.text)
	}
}
