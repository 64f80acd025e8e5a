package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func payload(n int) ([]byte, string) {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
	return data, sum(data)
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

func serve(t *testing.T, h http.HandlerFunc) *url.URL {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// file serves data as a good web server does.
func file(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "f", time.Unix(1_700_000_000, 0), bytes.NewReader(data))
	}
}

func testConfig(allow ...string) Config {
	cfg := DefaultConfig()
	cfg.Allow = allow
	cfg.IdleTimeout = 150 * time.Millisecond
	return cfg
}

func mustParse(t *testing.T, uri string) Ref {
	t.Helper()
	ref, err := Parse(uri)
	if err != nil {
		t.Fatalf("%s: %v", uri, err)
	}
	return ref
}

// get opens and reads to the end.
func get(ctx context.Context, f *Fetchers, r Request) (*Content, []byte, error) {
	c, err := f.Open(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(c.Body)
	return c, data, errors.Join(err, c.Body.Close())
}

// checkGet wants the whole file and then its end.
func checkGet(t *testing.T, f *Fetchers, uri string, data []byte) {
	t.Helper()
	ref := mustParse(t, uri)
	for _, offset := range []int64{0, int64(len(data) / 3)} {
		c, got, err := get(t.Context(), f, Request{Ref: ref, SHA256: sum(data), Offset: offset})
		if err != nil {
			t.Fatalf("%s from %d: %v", uri, offset, err)
		}
		if c.Offset != offset || c.Size != int64(len(data)) || !bytes.Equal(got, data[offset:]) {
			t.Fatalf("%s from %d: offset %d, size %d, %d bytes", uri, offset, c.Offset, c.Size, len(got))
		}
	}
}

// wantError wants an error of a kind, with a text and without a secret.
func wantError(t *testing.T, err error, kind Kind, text string, secrets ...string) {
	t.Helper()
	if err == nil || KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (kind %d), want %q (kind %d)", err, KindOf(err), text, kind)
		return
	}
	for _, s := range secrets {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the error tells the secret %q: %v", s, err)
		}
	}
}

func realClock() clock.Clock { return clock.Real() }
