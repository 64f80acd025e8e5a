package httpwire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/worker/internal/httpwire"
)

// What nobody asked for must not be the answer to the next request.
func TestWhatComesUnaskedIsNoAnswer(t *testing.T) {
	addr := raw(t, []string{whole + "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX"}, []string{whole}, []string{whole})
	c := client(t, addr, nil)
	for range 2 {
		if got, err := post(t.Context(), c, "x"); err != nil || got != "200 a" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// A request on a new connection, or one that was answered in part, is not sent again.
func TestOnlyAKeptConnectionsSilenceHasARequestSentAgain(t *testing.T) {
	addr := raw(t, []string{whole, ""}, []string{whole}, []string{""}, []string{whole})
	c := client(t, addr, nil)
	for i, want := range []bool{true, true} {
		if got, err := post(t.Context(), c, "x"); (err == nil) != want {
			t.Errorf("request %d: %q, %v", i, got, err)
		}
	}
	c.Close()
	if got, err := post(t.Context(), client(t, addr, nil), "x"); err == nil {
		t.Errorf("%q without an answer", got)
	}
	addr = raw(t, []string{whole, "HTTP/1.1 200"}, []string{whole})
	c = client(t, addr, nil)
	_, first := post(t.Context(), c, "x")
	if got, err := post(t.Context(), c, "x"); first != nil || err == nil {
		t.Errorf("%q after a part of an answer, %v", got, first)
	}
}

func TestTheContextEndsARequest(t *testing.T) {
	gone := errors.New("gone")
	addr, opened := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == "begin" {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
		}
		if len(body) > 1 {
			<-r.Context().Done() // its connection is closed
		}
	})
	c := client(t, addr, nil)
	for _, body := range []string{"wait", "begin"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		resp, err := func() (*http.Response, error) {
			if body == "wait" {
				time.AfterFunc(5*time.Millisecond, func() { cancel(gone) })
			}
			return c.Do(ctx, httpwire.Request{Method: http.MethodPost, Path: "/", Body: []byte(body)})
		}()
		if body == "begin" && err == nil {
			b := make([]byte, 1)
			_, err = io.ReadFull(resp.Body, b)
			if err != nil {
				t.Fatal(err)
			}
			cancel(gone)
			_, err = resp.Body.Read(b)
			_ = resp.Body.Close()
		}
		if !errors.Is(err, gone) {
			t.Errorf("%s: %v", body, err)
		}
		cancel(nil)
	}
	if got, err := post(t.Context(), c, "x"); err != nil || got != "200 " || opened.Load() != 3 {
		t.Errorf("%q, %v on %d connections", got, err, opened.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := post(ctx, c, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// An answer that was left before its end takes its connection with it.
func TestAnAnswerThatIsLeft(t *testing.T) {
	addr, opened := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("x", 64<<10)))
	})
	c := client(t, addr, nil)
	for range 3 {
		resp, err := c.Do(t.Context(), httpwire.Request{Method: http.MethodGet, Path: "/"})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
			t.Error("a closed body is read")
		}
	}
	if opened.Load() != 3 {
		t.Errorf("%d connections", opened.Load())
	}
}

func TestConnectionsAreKeptForTheirTimeOnly(t *testing.T) {
	addr, opened := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	c := client(t, addr, func(o *httpwire.Options) { o.Idle = time.Nanosecond })
	for range 3 {
		if _, err := post(t.Context(), c, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if opened.Load() != 3 {
		t.Errorf("%d connections", opened.Load())
	}
	c = client(t, addr, nil)
	_, _ = post(t.Context(), c, "a")
	c.Close()
	_, _ = post(t.Context(), c, "a")
	_, _ = post(t.Context(), c, "a")
	if opened.Load() != 6 {
		t.Errorf("%d connections after the end", opened.Load())
	}
}

func TestWhatCannotBeWrittenIsRefused(t *testing.T) {
	for _, h := range []http.Header{{"A": {"b\r\nc: d"}}, {"a b": {"c"}}} {
		if _, err := httpwire.New(httpwire.Options{Addr: "x:1", Host: "x:1", Header: h}); err == nil {
			t.Errorf("%v is taken", h)
		}
	}
	if _, err := httpwire.New(httpwire.Options{Addr: "x:1", Host: "x\r\n"}); err == nil {
		t.Error("a host with a line's end is taken")
	}
	c := client(t, "127.0.0.1:1", nil)
	for _, r := range []httpwire.Request{{Path: "x"}, {Path: ""}, {Path: "/a b"}, {Path: "/\r\n"}, {Path: "/", ID: "a\r\nb: c"}} {
		if _, err := c.Do(t.Context(), r); err == nil || !strings.Contains(err.Error(), "written") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// FuzzAnswer holds that an answer is read as net/http reads it, and none hangs.
func FuzzAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 500 No\r\n\r\nabc")
	f.Add("HTTP/1.1 000 \n\r\nHTTP/0.0 200 000\n\r\n000")
	f.Fuzz(func(t *testing.T, text string) {
		addr := raw(t, []string{text})
		c := client(t, addr, nil)
		got, err := post(t.Context(), c, "x")
		want, wantErr := plain(t, raw(t, []string{text}))
		if err == nil && wantErr == nil && got != want {
			t.Errorf("%q is %q, and %q to net/http", text, got, want)
		}
		if (err == nil) && wantErr != nil && !strings.Contains(wantErr.Error(), "malformed") && !strings.Contains(wantErr.Error(), "net/http") {
			t.Errorf("%q is %q, and to net/http %v", text, got, wantErr)
		}
	})
}

func plain(t *testing.T, addr string) (string, error) {
	t.Helper()
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", strings.NewReader("x"))
	if err != nil {
		return "", err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(out)), err
}
