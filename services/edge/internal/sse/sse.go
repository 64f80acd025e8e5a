// Package sse writes server-sent events (WHATWG HTML, section 9.2) as OpenAI's
// clients read them: one `data` line an event. Events leave when they are flushed, so
// that those that come together are sent together. It knows nothing of what events
// mean. Start reading at Writer.
package sse

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
)

// ContentType is the media type of a stream.
const ContentType = "text/event-stream; charset=utf-8"

// Buffers are what events wait in: a stream that has nothing to flush has none. The zero
// value is ready. It is safe for concurrent use.
type Buffers struct{ pool sync.Pool }

// keptBuffer is the largest buffer that is used again, in bytes.
const keptBuffer = 128 << 10

func (b *Buffers) take() *bytes.Buffer {
	if buf, ok := b.pool.Get().(*bytes.Buffer); ok {
		return buf
	}
	return new(bytes.Buffer)
}

func (b *Buffers) put(buf *bytes.Buffer) {
	if buf.Cap() <= keptBuffer {
		buf.Reset()
		b.pool.Put(buf)
	}
}

// Writer writes one stream. It is for one goroutine.
type Writer struct {
	w       http.ResponseWriter
	rc      http.ResponseController
	buffers *Buffers
	buf     *bytes.Buffer // nil: nothing waits
}

// New returns a writer on w, whose events wait in one of the buffers. It writes nothing
// yet: the status can still be another one.
func New(w http.ResponseWriter, buffers *Buffers) *Writer {
	return &Writer{w: w, rc: *http.NewResponseController(w), buffers: buffers}
}

// waiting is where events wait.
func (s *Writer) waiting() *bytes.Buffer {
	if s.buf == nil {
		s.buf = s.buffers.take()
	}
	return s.buf
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
	buf := s.waiting()
	buf.WriteString("data: ")
	start := buf.Len()
	buf.Write(data)
	if body := buf.Bytes()[start:]; bytes.ContainsAny(body, "\r\n") {
		for i, c := range body {
			if c == '\r' || c == '\n' {
				body[i] = ' '
			}
		}
	}
	buf.WriteString("\n\n")
}

// Named adds data as one event of a type, which must have no line break: clients
// that do not look for it pass it over.
func (s *Writer) Named(event string, data []byte) {
	buf := s.waiting()
	buf.WriteString("event: ")
	buf.WriteString(event)
	buf.WriteByte('\n')
	s.Event(data)
}

// Comment adds a line that clients ignore, to show that the stream lives. The
// text must have no line break.
func (s *Writer) Comment(text string) {
	buf := s.waiting()
	buf.WriteString(": ")
	buf.WriteString(text)
	buf.WriteString("\n\n")
}

// Len is how many bytes wait for Flush.
func (s *Writer) Len() int {
	if s.buf == nil {
		return 0
	}
	return s.buf.Len()
}

// Flush sends what was added.
func (s *Writer) Flush() error {
	_, err := s.w.Write(s.waiting().Bytes())
	s.buffers.put(s.buf)
	s.buf = nil
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		return fmt.Errorf("sse: %w", err)
	}
	return nil
}
