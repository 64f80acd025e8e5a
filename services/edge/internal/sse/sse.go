// Package sse writes server-sent events (WHATWG HTML, section 9.2) as OpenAI's
// clients read them: one `data` line an event. Events leave when they are flushed, so
// that those that come together are sent together. It knows nothing of what events
// mean. Start reading at Writer.
package sse

import (
	"bytes"
	"fmt"
	"net/http"
)

// ContentType is the media type of a stream.
const ContentType = "text/event-stream; charset=utf-8"

// Writer writes one stream. It is for one goroutine.
type Writer struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf []byte
}

// New returns a writer on w. It writes nothing yet: the status can still be
// another one.
func New(w http.ResponseWriter) *Writer {
	return &Writer{w: w, rc: http.NewResponseController(w)}
}

// Begin makes the header of the stream, which leaves with the first Flush.
func (s *Writer) Begin() {
	h := s.w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no") // NGINX would wait for a full buffer
	h.Del("Content-Length")
	s.w.WriteHeader(http.StatusOK)
}

// Event adds data as one event. A line break in data, which in JSON can only
// stand between its parts, becomes a space, since it would end the line.
func (s *Writer) Event(data []byte) {
	s.buf = append(s.buf, "data: "...)
	start := len(s.buf)
	s.buf = append(s.buf, data...)
	if body := s.buf[start:]; bytes.ContainsAny(body, "\r\n") {
		for i, c := range body {
			if c == '\r' || c == '\n' {
				body[i] = ' '
			}
		}
	}
	s.buf = append(s.buf, "\n\n"...)
}

// Named adds data as one event of a type, which must have no line break: clients
// that do not look for it pass it over.
func (s *Writer) Named(event string, data []byte) {
	s.buf = append(append(append(s.buf, "event: "...), event...), '\n')
	s.Event(data)
}

// Comment adds a line that clients ignore, to show that the stream lives. The
// text must have no line break.
func (s *Writer) Comment(text string) {
	s.buf = append(append(append(s.buf, ": "...), text...), "\n\n"...)
}

// Len is how many bytes wait for Flush.
func (s *Writer) Len() int { return len(s.buf) }

// Flush sends what was added.
func (s *Writer) Flush() error {
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		return fmt.Errorf("sse: %w", err)
	}
	return nil
}
