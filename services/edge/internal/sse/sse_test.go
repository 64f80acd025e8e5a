package sse_test

import (
	"errors"
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

// What leaves with the end of the answer is not sent before.
func TestLeave(t *testing.T) {
	answer := httptest.NewRecorder()
	s := sse.New(answer, buffers.New(0, 1<<10))
	s.Begin()
	s.Event([]byte("a"))
	if err := s.Leave(); err != nil || answer.Flushed || answer.Body.String() != "data: a\n\n" || s.Len() != 0 {
		t.Errorf("%v, flushed %v, %q", err, answer.Flushed, answer.Body)
	}
}

// What could not be encoded whole leaves no part of an event behind.
func TestEncode(t *testing.T) {
	answer := httptest.NewRecorder()
	s := sse.New(answer, buffers.New(0, 1<<10))
	encode := func(text string, err error) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { return append(b, text...), err }
	}
	broken := errors.New("broken")
	if err := errors.Join(s.Encode("a", encode("1\n2", nil)), s.Encode("", encode("3", nil))); err != nil {
		t.Fatal(err)
	}
	before := s.Len()
	if err := s.Encode("b", encode("4", broken)); !errors.Is(err, broken) || s.Len() != before {
		t.Errorf("%d bytes wait, want %d: %v", s.Len(), before, err)
	}
	s.Event([]byte("5"))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := answer.Body.String(), "event: a\ndata: 1 2\n\ndata: 3\n\ndata: 5\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	const most = 0 // what is appended goes to a buffer of the pool
	data, err := []byte("text"), error(nil)
	if n := testing.AllocsPerRun(100, func() {
		s.Event(data)
		err = errors.Join(err, s.Encode("x", func(b []byte) ([]byte, error) { return append(b, data...), nil }))
	}); n > most || err != nil {
		t.Errorf("two events allocate %.0f times, want at most %d: %v", n, most, err)
	}
}
