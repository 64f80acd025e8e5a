package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// room is of one read; an event of a stream is far below it.
const room = 16 << 10

// maxBody bounds what is read of one answer.
const maxBody = 16 << 20

// reader reads answers.
type reader struct {
	conn net.Conn
	b    *bufio.Reader
	// tail is the end of the piece before, in which an event may have begun.
	tail []byte
	// stamp has each event's time noted.
	stamp bool
}

func newReader(c net.Conn) *reader { return &reader{conn: c, b: bufio.NewReaderSize(c, room)} }

var eventStart = []byte("data:")

// next reads the answer to a request that was begun then.
func (r *reader) next(begun time.Time) (Sample, error) {
	status, length, chunked, err := r.head()
	if err != nil {
		return Sample{}, err
	}
	var s Sample
	r.tail = r.tail[:0]
	switch {
	case chunked:
		err = r.chunks(begun, &s)
	case length > 0:
		err = r.piece(length, begun, &s)
	}
	if err == nil && status != 200 {
		return s, fmt.Errorf("the answer's status is %d", status)
	}
	s.Whole = time.Since(begun)
	return s, err
}

func (r *reader) line() ([]byte, error) {
	l, err := r.b.ReadSlice('\n')
	return bytes.TrimRight(l, "\r\n"), err
}

func (r *reader) head() (status, length int, chunked bool, err error) {
	l, err := r.line()
	if err != nil {
		return 0, 0, false, err
	}
	if len(l) < 12 || !bytes.HasPrefix(l, []byte("HTTP/1.1 ")) {
		return 0, 0, false, fmt.Errorf("%q is no HTTP/1.1", l)
	}
	if status, err = strconv.Atoi(string(l[9:12])); err != nil {
		return 0, 0, false, err
	}
	for {
		if l, err = r.line(); err != nil || len(l) == 0 {
			return status, length, chunked, err
		}
		name, value, _ := bytes.Cut(l, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length > maxBody {
				return 0, 0, false, fmt.Errorf("content-length %q", value)
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("connection")) && bytes.EqualFold(value, []byte("close")):
			return 0, 0, false, fmt.Errorf("the server closes the connection after the answer, whose status is %d", status)
		}
	}
}

func (r *reader) chunks(begun time.Time, s *Sample) error {
	for {
		l, err := r.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(l), 16, 32)
		if err != nil {
			return fmt.Errorf("%q is no length of a chunk", l)
		}
		if err := r.piece(int(n), begun, s); err != nil {
			return err
		}
		if l, err = r.line(); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if len(l) != 0 {
			return fmt.Errorf("a chunk ends with %q", l)
		}
	}
}

// piece reads n bytes of a body.
func (r *reader) piece(n int, begun time.Time, s *Sample) error {
	for n > 0 {
		if _, err := r.b.Peek(1); err != nil {
			return err
		}
		if s.First == 0 {
			s.First = time.Since(begun)
		}
		some, _ := r.b.Peek(min(n, r.b.Buffered()))
		r.count(some, s)
		for r.stamp && len(s.Times) < s.Events {
			s.Times = append(s.Times, time.Since(begun))
		}
		n -= len(some)
		if _, err := r.b.Discard(len(some)); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// count counts the events that begin in a piece, also where two pieces meet.
func (r *reader) count(piece []byte, s *Sample) {
	s.Events += bytes.Count(piece, eventStart)
	const keep = 4 // len(eventStart) - 1
	if len(r.tail) > 0 {
		seam := append(append(make([]byte, 0, 2*keep), r.tail...), piece[:min(keep, len(piece))]...)
		s.Events += bytes.Count(seam, eventStart)
	}
	if len(piece) >= keep {
		r.tail = append(r.tail[:0], piece[len(piece)-keep:]...)
		return
	}
	r.tail = append(r.tail, piece...)
	r.tail = r.tail[max(0, len(r.tail)-keep):]
}

// first reads the head of an answer and waits for its body to begin.
func (r *reader) first(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = r.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	status, _, _, err := r.head()
	if err == nil && status != 200 {
		err = fmt.Errorf("the answer's status is %d", status)
	}
	if err == nil {
		_, err = r.b.Peek(1)
	}
	return err
}
