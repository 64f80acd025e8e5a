package gateway

import (
	"fmt"
	"net/http"
	"time"
)

// withSecurityHeaders tells browsers what an answer is not for: an API's answer
// is no page, and runs, shows and embeds nothing. Pages that need more say so
// themselves. Over TLS browsers are told to come back so (RFC 6797).
func withSecurityHeaders(hsts time.Duration, next http.Handler) http.Handler {
	// The values are shared by all answers, which replace and never change them.
	fixed := []struct {
		name   string
		values []string
	}{
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"X-Frame-Options", []string{"DENY"}},
		{"Referrer-Policy", []string{"no-referrer"}},
		{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
		{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
	}
	strict := []string{fmt.Sprintf("max-age=%d", int64(hsts.Seconds()))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		for _, f := range fixed {
			header[f.name] = f.values
		}
		if r.TLS != nil && hsts > 0 {
			header["Strict-Transport-Security"] = strict
		}
		next.ServeHTTP(w, r)
	})
}
