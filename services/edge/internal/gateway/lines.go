package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// line is one line of a body, without its end. long: it was over the bound, and
// is not here.
type line struct {
	number int64
	text   []byte
	long   bool
}

// lineReader reads lines and holds one at a time, whatever they are.
type lineReader struct {
	r      *bufio.Reader
	most   int
	number int64
	skip   int64
	begun  bool
	buf    []byte
}

// newLineReader numbers lines as q says.
func newLineReader(r io.Reader, most int, q importQuery) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), most: most, number: q.first - 1, skip: q.skip}
}

// more reports whether another whole line has arrived.
func (l *lineReader) more() bool {
	waiting, _ := l.r.Peek(l.r.Buffered()) // of what is there
	return bytes.IndexByte(waiting, '\n') >= 0
}

// next returns the next line, which holds until the one after it. With io.EOF
// comes the last, when that has no end.
func (l *lineReader) next() (line, error) {
	for {
		out, err := l.read()
		if err != nil && (len(out.text) == 0 && !out.long || !errors.Is(err, io.EOF)) {
			return line{}, err
		}
		l.number++
		if !l.begun {
			out.text = bytes.TrimPrefix(out.text, []byte("\ufeff"))
		}
		l.begun = true
		out.number, out.text = l.number, bytes.TrimSpace(out.text)
		if l.skip == 0 {
			return out, nil
		}
		l.skip--
	}
}

func (l *lineReader) read() (out line, err error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if size := len(l.buf) + len(part); out.long || size > l.most+1 {
			out.long, l.buf = true, l.buf[:0]
		} else {
			l.buf = append(l.buf, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if !out.long {
			out.text = l.buf
		}
		return out, err
	}
}
