package sse

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func all(t *testing.T, src io.Reader, limit int) ([]string, error) {
	t.Helper()
	var out []string
	r := NewReader(src, limit)
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, ev.Name+"|"+string(ev.Data))
	}
}

func TestReader(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
	}{
		{"plain", "data: {\"a\":1}\n\ndata: [DONE]\n\n", []string{`|{"a":1}`, "|[DONE]"}},
		{"no space after the colon", "data:x\n\n", []string{"|x"}},
		{"only one space is dropped", "data:  x\n\n", []string{"| x"}},
		{"CR LF", "data: a\r\n\r\ndata: b\r\n\r\n", []string{"|a", "|b"}},
		{"CR alone", "data: a\r\rdata: b\r\r", []string{"|a", "|b"}},
		{"mixed ends", "data: a\r\n\ndata: b\n\r\n", []string{"|a", "|b"}},
		{"several data lines", "data: a\ndata: b\ndata\n\n", []string{"|a\nb\n"}},
		{"comments and blank lines", ": ping\n\n\n: x\ndata: a\n: y\n\n", []string{"|a"}},
		{"event name", "event: error\ndata: a\n\ndata: b\n\n", []string{"error|a", "|b"}},
		{"a name without data is no event", "event: x\n\ndata: a\n\n", []string{"|a"}},
		{"other fields", "id: 1\nretry: 5\nwhat: ever\nnocolon\ndata: a\n\n", []string{"|a"}},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n", []string{"|a"}},
		{"unfinished event is dropped", "data: a\n\ndata: b\n", []string{"|a"}},
		{"empty data", "data\n\n", []string{"|"}},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for what, src := range map[string]io.Reader{
				"whole": strings.NewReader(tt.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
			} {
				got, err := all(t, src, 1<<20)
				if err != nil || strings.Join(got, "§") != strings.Join(tt.want, "§") {
					t.Errorf("%s: got %q, %v; want %q", what, got, err, tt.want)
				}
			}
		})
	}
}

func TestReaderLimits(t *testing.T) {
	for name, in := range map[string]string{
		"one line":    "data: " + strings.Repeat("x", 5000) + "\n\n",
		"many lines":  strings.Repeat("data: "+strings.Repeat("x", 100)+"\n", 50) + "\n",
		"endless":     strings.Repeat("x", 50000),
		"one comment": ":" + strings.Repeat("x", 50000),
	} {
		if _, err := all(t, strings.NewReader(in), 1000); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: got %v, want ErrTooLong", name, err)
		}
	}
	if got, err := all(t, strings.NewReader("data: "+strings.Repeat("x", 20000)+"\n\n"), 1<<20); err != nil || len(got) != 1 || len(got[0]) != 20001 {
		t.Errorf("a long line within the limit: %v", err)
	}
}

// An event must come out before the next byte of the stream arrives.
func TestReaderDoesNotWaitForMore(t *testing.T) {
	for _, end := range []string{"\n\n", "\r\n\r\n", "\r\r"} {
		pr, pw := io.Pipe()
		go func() { _, _ = pw.Write([]byte("data: a" + end)) }()
		ev, err := NewReader(pr, 100).Next()
		if err != nil || string(ev.Data) != "a" {
			t.Errorf("%q: got %q, %v", end, ev.Data, err)
		}
		_ = pr.Close()
	}
}

func TestReaderKeepsTheSourcesError(t *testing.T) {
	broken := errors.New("connection reset")
	src := io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(broken))
	got, err := all(t, src, 100)
	if !errors.Is(err, broken) || len(got) != 1 {
		t.Fatalf("got %q, %v", got, err)
	}
}

// FuzzReader checks that the size of reads never changes what is read, and
// that limits hold.
func FuzzReader(f *testing.F) {
	f.Add([]byte("data: a\r\n\r\n: c\n\ndata: b\ndata: c\n\n"))
	f.Add([]byte("\xef\xbb\xbfevent: error\rdata:{}\r\r"))
	f.Add([]byte("\r\n\n\r:\n\ndata\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 64
		whole, err1 := all(t, bytes.NewReader(in), limit)
		single, err2 := all(t, iotest.OneByteReader(bytes.NewReader(in)), limit)
		if (err1 == nil) != (err2 == nil) || (err1 == nil && strings.Join(whole, "§") != strings.Join(single, "§")) {
			t.Fatalf("whole %q (%v), byte by byte %q (%v)", whole, err1, single, err2)
		}
		for _, ev := range whole {
			_, data, _ := strings.Cut(ev, "|")
			if len(data) > limit+len(ev) || strings.Contains(data, "\r") {
				t.Fatalf("event %q breaks a rule", ev)
			}
		}
	})
}

// A burst that is larger than a reader begins with comes in one piece once there was
// another, and a stream that is slow takes no more memory.
func TestBurstsHaveRoom(t *testing.T) {
	event := "data: " + strings.Repeat("a", 92) + "\n\n"
	burst := strings.Repeat(event, 140)
	src := io.MultiReader(strings.NewReader(burst), strings.NewReader(burst), strings.NewReader(burst), strings.NewReader(event))
	r := NewReader(src, 1<<20)
	var pieces []int
	for n := 1; ; n++ {
		if _, err := r.Next(); err != nil {
			break
		}
		if !r.Pending() {
			pieces = append(pieces, n)
			n = 0
		}
	}
	if want := []int{81, 59, 140, 140, 1}; !slices.Equal(pieces, want) || len(r.buf) != burstSize {
		t.Errorf("in pieces of %d, want %d, with room for %d bytes", pieces, want, len(r.buf))
	}
	slow := NewReader(iotest.OneByteReader(strings.NewReader(burst+burst)), 1<<20)
	for range 280 {
		if _, err := slow.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if len(slow.buf) != readSize {
		t.Errorf("a slow stream has room for %d bytes", len(slow.buf))
	}
}
