package httperr_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/apierr/httperr"
)

func decode(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return m
}

func TestWriteProblem(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "5")
	httperr.WriteProblem(w, "req-1", apierr.Invalid("filter", "the filter has an unknown field").WithRetryAfter(1200*time.Millisecond))
	if w.Code != 400 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Retry-After") != "2" ||
		w.Header().Get("Content-Length") != "" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	got, _ := json.Marshal(decode(t, w.Body.Bytes()))
	want := `{"code":"INVALID_ARGUMENT","detail":"the filter has an unknown field","errors":[{"detail":"the filter has an unknown field","field":"filter"}],"request_id":"req-1","status":400,"title":"Bad Request","type":"https://poterne.dev/errors/INVALID_ARGUMENT"}`
	if string(got) != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestCauseIsNotWritten(t *testing.T) {
	for name, write := range map[string]func(w *httptest.ResponseRecorder, err error){
		"problem":   func(w *httptest.ResponseRecorder, err error) { httperr.WriteProblem(w, "r", err) },
		"openai":    func(w *httptest.ResponseRecorder, err error) { httperr.WriteOpenAI(w, "r", err) },
		"inference": func(w *httptest.ResponseRecorder, err error) { httperr.WriteInference(w, "r", err) },
		"event": func(w *httptest.ResponseRecorder, err error) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write(httperr.OpenAIBody(err, "r"))
		},
	} {
		w := httptest.NewRecorder()
		write(w, errors.New("pq: password authentication failed"))
		if w.Code != 500 || strings.Contains(w.Body.String(), "password") || !strings.Contains(w.Body.String(), `"request_id":"r"`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// What api.openai.com sends for the same failures, as its SDKs expect it.
func TestOpenAIShape(t *testing.T) {
	for _, c := range []struct {
		err        error
		status     int
		kind       string
		code       any
		param      any
		retryAfter string
	}{
		{apierr.Invalid("temperature", "m"), 400, "invalid_request_error", nil, "temperature", ""},
		{apierr.New(apierr.ContextLengthExceeded, "m").WithField("messages"), 400, "invalid_request_error", "context_length_exceeded", "messages", ""},
		{apierr.New(apierr.Unauthenticated, "m"), 401, "invalid_request_error", "invalid_api_key", nil, ""},
		{apierr.New(apierr.PermissionDenied, "m"), 403, "permission_error", "permission_denied", nil, ""},
		{apierr.New(apierr.ModelNotFound, "m").WithField("model"), 404, "invalid_request_error", "model_not_found", "model", ""},
		{apierr.New(apierr.RateLimited, "m"), 429, "requests", "rate_limit_exceeded", nil, "1"},
		{apierr.New(apierr.RateLimited, "m").WithMetadata(httperr.MetadataLimit, "tokens").WithRetryAfter(20 * time.Second), 429, "tokens", "rate_limit_exceeded", nil, "20"},
		{apierr.New(apierr.QuotaExceeded, "m"), 429, "insufficient_quota", "insufficient_quota", nil, ""},
		{apierr.New(apierr.Overloaded, "m"), 503, "server_error", "overloaded", nil, "1"},
		{apierr.New(apierr.EngineFailed, "m"), 502, "server_error", "engine_failed", nil, ""},
	} {
		w := httptest.NewRecorder()
		httperr.WriteOpenAI(w, "req-9", c.err)
		e, ok := decode(t, w.Body.Bytes())["error"].(map[string]any)
		if !ok {
			t.Fatalf("no error in %s", w.Body)
		}
		if w.Code != c.status || e["type"] != c.kind || e["code"] != c.code || e["param"] != c.param || e["message"] != "m" ||
			e["request_id"] != "req-9" || w.Header().Get("Retry-After") != c.retryAfter || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%v:\n%d %v\n%s", c.err, w.Code, w.Header(), w.Body)
		}
		for _, key := range []string{"param", "code"} {
			if _, there := e[key]; !there {
				t.Errorf("%v: %s must be null rather than missing", c.err, key)
			}
		}
		if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%v: WWW-Authenticate: %q", c.err, w.Header().Get("WWW-Authenticate"))
		}
	}
}

func TestEveryReasonHasAnOpenAIType(t *testing.T) {
	for _, r := range apierr.Reasons() {
		e, ok := decode(t, httperr.OpenAIBody(apierr.New(r, "m"), ""))["error"].(map[string]any)
		if !ok || e["type"] == "" || (e["type"] == "server_error") != (r.HTTPStatus() >= 500 && r != apierr.Unimplemented) {
			t.Errorf("%s: %v", r, e)
		}
	}
}
