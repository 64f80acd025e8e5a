// Package sse reads server-sent events as engines send them. It follows the
// event stream format of the WHATWG HTML standard (section 9.2.6), with limits,
// and knows nothing of what the events hold; start reading at Reader.
package sse

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// ErrTooLong is returned when one event, or one line, exceeds the limit.
var ErrTooLong = errors.New("sse: an event is longer than the limit")

// Event is one event. Its bytes are valid until the next call of Next.
type Event struct {
	// Name is the event's type; empty means `message`.
	Name string
	// Data is the data lines, joined by line feeds.
	Data []byte
}

// A reader begins with room for readSize bytes, and has as many as burstSize once the
// source had more than that at a time.
const (
	readSize  = 8 << 10
	burstSize = 16 << 10
)

// Reader reads events one by one as they come: an event is returned as soon as
// the blank line that ends it was read, whatever follows. It is not safe for
// concurrent use.
type Reader struct {
	src   io.Reader
	limit int

	buf        []byte
	start, end int
	filled     bool // the last read left no room
	skipLF     bool // the last line ended in CR: an LF that follows belongs to it
	begun      bool
	err        error

	name    string
	data    []byte
	hasData bool
}

// NewReader reads src. No line and no event's data may exceed limit bytes.
func NewReader(src io.Reader, limit int) *Reader {
	return &Reader{src: src, limit: limit, buf: make([]byte, readSize)}
}

// Readers are readers that are used again, for their buffers. The zero value is ready. It is
// safe for concurrent use.
type Readers struct{ pool sync.Pool }

// Open is NewReader.
func (p *Readers) Open(src io.Reader, limit int) *Reader {
	if r, ok := p.pool.Get().(*Reader); ok {
		*r = Reader{src: src, limit: limit, buf: r.buf, data: r.data[:0]}
		return r
	}
	return NewReader(src, limit)
}

// Done takes a reader back, of which nothing is looked at any more.
func (p *Readers) Done(r *Reader) {
	if len(r.buf) <= burstSize && cap(r.data) <= readSize {
		r.src = nil
		p.pool.Put(r)
	}
}

// Rest is how many bytes have been read and not been returned.
func (r *Reader) Rest() int { return r.end - r.start }

// Next returns the next event that has data. At the end of the source it
// returns io.EOF; an event that no blank line had ended is dropped, as the
// standard says.
func (r *Reader) Next() (Event, error) {
	r.data, r.name, r.hasData = r.data[:0], "", false
	for {
		line, err := r.line()
		if err != nil {
			return Event{}, err
		}
		if len(line) == 0 {
			if r.hasData {
				return Event{Name: r.name, Data: r.data}, nil
			}
			r.name = ""
			continue
		}
		if err := r.field(line); err != nil {
			return Event{}, err
		}
	}
}

// Pending reports whether another event has been read already, so that Next would not
// wait. An event whose end has not come yet is none.
func (r *Reader) Pending() bool {
	rest := r.buf[r.start:r.end]
	return bytes.Contains(rest, []byte("\n\n")) || bytes.Contains(rest, []byte("\r\n\r\n")) || bytes.Contains(rest, []byte("\r\r"))
}

func (r *Reader) field(line []byte) error {
	key, value, found := bytes.Cut(line, []byte{':'})
	if found && len(key) == 0 {
		return nil // a comment, sent to keep the connection open
	}
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(key) {
	case "data":
		if r.hasData {
			r.data = append(r.data, '\n')
		}
		if len(r.data)+len(value) > r.limit {
			return ErrTooLong
		}
		r.data = append(r.data, value...)
		r.hasData = true
	case "event":
		r.name = string(value)
	}
	return nil // id, retry and unknown fields do not matter here
}

// line returns the next line without its end: CR, LF or CR LF.
func (r *Reader) line() ([]byte, error) {
	scanned := 0
	for {
		if r.skipLF && r.end > r.start {
			if r.buf[r.start] == '\n' {
				r.start++
			}
			r.skipLF = false
		}
		if line, ok := r.cut(scanned); ok {
			if len(line) > r.limit {
				return nil, ErrTooLong
			}
			if !r.begun {
				r.begun = true // a byte order mark may come first
				line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			}
			return line, nil
		}
		scanned = r.end - r.start
		if scanned > r.limit {
			return nil, ErrTooLong
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// cut takes a whole line from the buffer, if there is one; the first scanned
// bytes are known to hold no end of line.
func (r *Reader) cut(scanned int) ([]byte, bool) {
	rest := r.buf[r.start+min(scanned, r.end-r.start) : r.end]
	i := bytes.IndexByte(rest, '\n')
	if i >= 0 {
		rest = rest[:i]
	}
	if j := bytes.IndexByte(rest, '\r'); j >= 0 {
		i, r.skipLF = j, true
	}
	if i < 0 {
		return nil, false
	}
	stop := r.end - (len(r.buf[r.start+scanned:r.end]) - i)
	line := r.buf[r.start:stop]
	r.start = stop + 1
	return line, true
}

// fill reads more, making room first. It reports an error only when it read
// nothing.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.end -= r.start
		r.start = 0
	}
	if r.end == len(r.buf) || r.filled {
		r.filled = false
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	for range 100 { // as bufio does: a reader may return nothing now and then
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		r.err = err
		r.filled = r.end == len(r.buf) && len(r.buf) < burstSize
		switch {
		case n > 0:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}
