package gateway

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/poterne/poterne/pkg/config"
)

// The port takes HTTP/2 in the clear, both ways side by side, and HTTP/1.1 beside
// it: proxies choose.
func TestThePortSpeaksBothVersions(t *testing.T) {
	s := NewServer(Config{Addr: "127.0.0.1:0", MaxConnections: 8, MaxHeaderBytes: 16 * config.KiB},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			for in := bufio.NewScanner(r.Body); in.Scan(); {
				_, _ = fmt.Fprintln(w, r.Proto, in.Text())
				_ = http.NewResponseController(w).Flush()
			}
		}), nil, nil, slog.New(slog.DiscardHandler))
	if err := s.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.serve(t.Context()) }()
	t.Cleanup(func() { _ = s.stop(t.Context()) })
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(version == "HTTP/1.1")
		protocols.SetUnencryptedHTTP2(version == "HTTP/2.0")
		transport := &http.Transport{Protocols: protocols}
		t.Cleanup(transport.CloseIdleConnections)
		body, send := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr().String(), body)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(send, "0\n") }()
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewScanner(resp.Body)
		for i := range 3 { // each line is answered before the next is sent
			if !answers.Scan() || answers.Text() != fmt.Sprint(version, " ", i) {
				t.Errorf("%s: line %d is answered %q", version, i, answers.Text())
			}
			if _, err := fmt.Fprintln(send, i+1); err != nil {
				t.Fatal(err)
			}
		}
		_ = send.Close()
		_ = resp.Body.Close()
	}
}
