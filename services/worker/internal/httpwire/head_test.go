package httpwire

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const usual = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: application/json; charset=utf-8\r\nset-cookie: a\r\nSet-Cookie: b\r\n" +
	"Content-Length: 3\r\nDate: Thu, 26 Nov 2026 20:00:00 GMT\r\n\r\nabcdef"

func TestOrdinaryHeads(t *testing.T) {
	for text, want := range map[string]bool{
		usual: true,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                             true,
		"HTTP/1.1 200 \r\nContent-Length:3\r\n\r\nab":                                              true, // which is too short
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":               true,
		"HTTP/1.1 200 OK\r\ntransfer-encoding:Chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n":      true, // which has no end
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\r\n\r\nHTTP":   true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd":                           true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n": false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n":                     false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc":       false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n\r\n":             false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX T 1\r\n\r\n":      true, // whose trailer is none
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\r\n":           true, // which is cut
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chun\u212aed\r\n\r\n3\r\nabc\r\n0\r\n\r\n":          false,
		"HTTP/1.1 200 OK\r\n\r\nabc": false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc":                  false,
		"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc":                                      false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc":                  false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc":    false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: a\r\n b\r\n\r\nabc":                         false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX : a\r\n\r\nabc":                              false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\nX: a\r\n\r\nabc":                                 false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: a\r\r\n\r\nabc":                             false,
		"HTTP/1.1 200 OK\nX: a\r\nContent-Length: 3\r\n\r\nabc":                                 false,
		"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc":                                       false,
		"HTTP/1.1 429 Slow\r\nContent-Length: 3\r\n\r\nabc":                                     false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + strings.Repeat("X: a\r\n", 20) + "\r\nabc": false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n":                                              false,
	} {
		if got := agrees(t, text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// agrees reports whether the text is ordinary, and holds that it is what net/http reads.
func agrees(t *testing.T, text string) bool {
	t.Helper()
	bare := bufio.NewReaderSize(strings.NewReader(text), 16<<10)
	n, read := bareHead(bare, 16<<10)
	r := bufio.NewReaderSize(strings.NewReader(text), 16<<10)
	o := ordinaryHead(r)
	if read != (o != nil && !o.chunked() && o.ContentLength <= 16<<10) || read && (n != o.ContentLength || bare.Buffered() != r.Buffered()) {
		t.Errorf("%q: a length of %d, %v", text, n, read)
	}
	if rest, _ := io.ReadAll(bare); !read && string(rest) != text {
		t.Errorf("%q: something was taken for its length", text)
	}
	if o == nil {
		if rest, _ := io.ReadAll(r); string(rest) != text {
			t.Errorf("%q: something was taken", text)
		}
		return false
	}
	theirs := bufio.NewReaderSize(strings.NewReader(text), 16<<10)
	want, err := http.ReadResponse(theirs, &http.Request{Method: http.MethodPost})
	if err != nil {
		t.Errorf("%q is no answer: %v", text, err)
		return true
	}
	body, bodyErr := io.ReadAll(o.body.Reader)
	wantBody, wantErr := io.ReadAll(want.Body)
	if !bytes.Equal(body, wantBody) || (bodyErr == nil) != (wantErr == nil) {
		t.Errorf("%q: body %q, %v, want %q, %v", text, body, bodyErr, wantBody, wantErr)
	}
	rest, _ := io.ReadAll(r)
	wantRest, _ := io.ReadAll(theirs)
	if !bytes.Equal(rest, wantRest) && bodyErr == nil {
		t.Errorf("%q: another answer would begin with %q, not %q", text, rest, wantRest)
	}
	if o.Status != want.Status || o.StatusCode != want.StatusCode || o.Proto != want.Proto || o.ContentLength != want.ContentLength ||
		!reflect.DeepEqual(o.Header, want.Header) || want.Close || !reflect.DeepEqual(o.TransferEncoding, want.TransferEncoding) {
		t.Errorf("%q is %+v, want %+v", text, &o.Response, want)
	}
	return true
}

func FuzzOrdinaryHead(f *testing.F) {
	f.Add(usual)
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX:\t\r\nPragma: no-cache\r\n\r\nabc")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX:\t\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: a\r\n\r\nHTTP/1.1")
	f.Add("HTTP/1.1 200 \r\n0:\n\r\nContent-Length:0\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 16<<10 {
			agrees(t, text)
		}
	})
}

func BenchmarkBareHead(b *testing.B) {
	text := strings.NewReader(usual)
	r := bufio.NewReaderSize(text, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		text.Reset(usual)
		r.Reset(text)
		if _, ok := bareHead(r, 100); !ok {
			b.Fatal("not ordinary")
		}
	}
}
