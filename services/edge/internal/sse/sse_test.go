package sse_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/buffers"
	"github.com/poterne/poterne/services/edge/internal/sse"
)

// Streams that write in turns share buffers, and none sees what another has written.
func TestStreamsShareBuffers(t *testing.T) {
	pool := buffers.New(0, 1<<10)
	var answers [3]*httptest.ResponseRecorder
	var streams [len(answers)]*sse.Writer
	for i := range answers {
		answers[i] = httptest.NewRecorder()
		streams[i] = sse.New(answers[i], pool)
		streams[i].Begin()
	}
	for round := range 3 {
		for i, s := range streams {
			if s.Len() != 0 {
				t.Fatalf("%d bytes wait before anything was written", s.Len())
			}
			text := strings.Repeat(string(rune('a'+i)), 10*(3-round))
			s.Event([]byte(text))
			s.Named("x", []byte(text[:1]+"\r\n"+text[1:]))
			s.Comment(text)
			if i > 0 { // the first one's leaves while the others wait
				continue
			}
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range streams[1:] {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, a := range answers {
		own := string(rune('a' + i))
		want := ""
		for _, n := range []int{30, 20, 10} {
			text := strings.Repeat(own, n)
			want += "data: " + text + "\n\nevent: x\ndata: " + text[:1] + "  " + text[1:] + "\n\n: " + text + "\n\n"
		}
		if got := a.Body.String(); got != want || !a.Flushed {
			t.Errorf("stream %d: %q", i, got)
		}
	}
}
