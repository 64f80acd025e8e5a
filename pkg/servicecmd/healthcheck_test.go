package servicecmd

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthcheck(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" {
			http.Error(w, "no model is ready", http.StatusServiceUnavailable)
			return
		}
	}))
	url := server.URL
	defer server.Close()
	tests := []struct {
		url  string
		code int
		says string
	}{
		{url + "/livez", ExitDone, ""},
		{url + "/readyz", ExitFailed, "no model is ready"},
		{"http://127.0.0.1:1/livez", ExitFailed, "refused"},
		{"http://[", ExitUsage, "--healthcheck"},
	}
	for _, tt := range tests {
		var stderr bytes.Buffer
		c := Command[struct{}]{Name: "poterne-test", NewConfig: func() *struct{} { return nil }}
		code := c.Execute(t.Context(), Process{Args: []string{"--healthcheck", tt.url}, Stdout: &stderr, Stderr: &stderr})
		if code != tt.code || !strings.Contains(stderr.String(), tt.says) {
			t.Errorf("%s: code %d, want %d; %s", tt.url, code, tt.code, stderr.String())
		}
	}
}
