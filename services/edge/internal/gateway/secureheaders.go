package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"time"
)

// withSecurityHeaders tells browsers what an answer is not for: an API's answer
// is no page, and runs, shows and embeds nothing. Pages that need more say so
// themselves. Over TLS browsers are told to come back so (RFC 6797).
func withSecurityHeaders(hsts time.Duration, next http.Handler) http.Handler {
	// The values are shared by all answers, which replace and never change them.
	fixed := map[string][]string{
		"X-Content-Type-Options":       {"nosniff"},
		"X-Frame-Options":              {"DENY"},
		"Referrer-Policy":              {"no-referrer"},
		"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
	}
	strict := []string{fmt.Sprintf("max-age=%d", int64(hsts.Seconds()))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		maps.Copy(header, fixed)
		if r.TLS != nil && hsts > 0 {
			header["Strict-Transport-Security"] = strict
		}
		next.ServeHTTP(w, r)
	})
}
