package possession

import (
	"net/http"
	"testing"

	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// A proxy that writes one header passes on the other as whoever lured a client sent
// it.
func TestOneForwardedHeaderIsBelieved(t *testing.T) {
	header := http.Header{
		"Forwarded": {`for=192.0.2.1;proto=http;host=one.example`}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"two.example"},
	}
	for by, want := range map[string]string{clientaddr.Forwarded: "http://one.example", clientaddr.XForwardedFor: "https://two.example"} {
		if proto, host := forwarded(header, by); proto+"://"+host != want {
			t.Errorf("by %s: %s://%s, want %s", by, proto, host, want)
		}
	}
}
