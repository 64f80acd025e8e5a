package front

import (
	"net/http"
	"testing"
)

// BenchmarkFields is the header of an ordinary answer, and BenchmarkLook the head of an
// ordinary request.
func BenchmarkFields(b *testing.B) {
	h := http.Header{}
	for _, name := range []string{
		"X-Request-Id", "Traceparent", "Cache-Control", "Content-Type", "X-Poterne-Model", "X-Content-Type-Options", "X-Frame-Options",
		"Referrer-Policy", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Ratelimit", "Ratelimit-Policy",
		"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests", "X-Poterne-Cache",
	} {
		h.Set(name, "a value of some length, as they are")
	}
	var buf []byte
	for b.Loop() {
		buf = appendFields(buf[:0], h, http.StatusOK)
	}
}

func BenchmarkLook(b *testing.B) {
	request := []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Go-http-client/1.1\r\n" +
		"Authorization: Bearer ptn_0123456789abcdef_0123456789012345678901234567890123456789012345678\r\n" +
		"Content-Type: application/json\r\nAccept-Encoding: gzip\r\nContent-Length: 100\r\n\r\n")
	for b.Loop() {
		if _, v := look(request); v != plain {
			b.Fatal(v)
		}
	}
}
