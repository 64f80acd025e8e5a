// Package sse writes server-sent events (WHATWG HTML, section 9.2) as OpenAI's
// clients read them: one `data` line an event. Events leave when they are flushed, so
// that those that come together are sent together. It knows nothing of what events
// mean. Start reading at Writer.
package sse

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/poterne/poterne/pkg/buffers"
)

// ContentType is the media type of a stream.
const ContentType = "text/event-stream; charset=utf-8"

// Lifetime begins the Cache-Control of an answer that is given again; the seconds that it
// is fresh for follow. A stream of it keeps that.
const Lifetime = "private, max-age="

// Writer writes one stream. It holds a buffer only while something waits for Flush. It is
// for one goroutine.
type Writer struct {
	w    http.ResponseWriter
	rc   http.ResponseController
	pool *buffers.Pool
	buf  *buffers.Buffer // nil: nothing waits
}

// New returns a writer on w, with buffers of pool. It writes nothing yet: the status can
// still be another one.
func New(w http.ResponseWriter, pool *buffers.Pool) *Writer {
	return &Writer{w: w, rc: *http.NewResponseController(w), pool: pool}
}

// Begin makes the header of the stream, which leaves with the first Flush.
func (s *Writer) Begin() {
	h := s.w.Header()
	h.Set("Content-Type", ContentType)
	control := "no-cache"
	if kept := h.Get("Cache-Control"); strings.HasPrefix(kept, Lifetime) {
		control = kept // of an answer that is given again
	}
	h.Set("Cache-Control", control+", no-transform")
	h.Set("X-Accel-Buffering", "no") // NGINX would wait for a full buffer
	h.Del("Content-Length")
	s.w.WriteHeader(http.StatusOK)
}

// Event adds data as one event. A line break in data, which in JSON can only
// stand between its parts, becomes a space, since it would end the line.
func (s *Writer) Event(data []byte) { s.Named("", data) }

// Named adds data as one event of a type, which must have no line break: clients
// that do not look for it pass it over. Without one it is as Event has it.
func (s *Writer) Named(event string, data []byte) {
	b, start := s.begin(event)
	s.end(append(b, data...), start)
}

// Encode adds as one event, as Named does, what encode appends. When that fails, nothing
// is added.
func (s *Writer) Encode(event string, encode func(b []byte) ([]byte, error)) error {
	b, start := s.begin(event)
	b, err := encode(b)
	if err != nil {
		return err
	}
	s.end(b, start)
	return nil
}

// begin returns what waits, with an event that has no data yet, which starts there.
func (s *Writer) begin(event string) (b []byte, start int) {
	b = s.waiting().B
	if event != "" {
		b = append(append(append(b, "event: "...), event...), '\n')
	}
	b = append(b, "data: "...)
	return b, len(b)
}

// end has b wait, whose last event is whole.
func (s *Writer) end(b []byte, start int) {
	if data := b[start:]; bytes.IndexByte(data, '\n') >= 0 || bytes.IndexByte(data, '\r') >= 0 {
		for i, c := range data {
			if c == '\r' || c == '\n' {
				data[i] = ' '
			}
		}
	}
	b = append(b, "\n\n"...)
	s.buf.B = b
}

// waiting is what waits for Flush.
func (s *Writer) waiting() *buffers.Buffer {
	if s.buf == nil {
		s.buf = s.pool.Take()
	}
	return s.buf
}

// Comment adds a line that clients ignore, to show that the stream lives. The
// text must have no line break.
func (s *Writer) Comment(text string) {
	s.waiting().B = append(append(append(s.waiting().B, ": "...), text...), "\n\n"...)
}

// Len is how many bytes wait for Flush.
func (s *Writer) Len() int {
	if s.buf == nil {
		return 0
	}
	return len(s.buf.B)
}

// Flush sends what was added.
func (s *Writer) Flush() error {
	err := s.Leave()
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		return fmt.Errorf("sse: %w", err)
	}
	return nil
}

// Leave has what was added leave with the end of the answer: the handler must return.
func (s *Writer) Leave() error {
	_, err := s.w.Write(s.waiting().B)
	s.pool.Put(s.buf)
	s.buf = nil
	if err != nil {
		return fmt.Errorf("sse: %w", err)
	}
	return nil
}
