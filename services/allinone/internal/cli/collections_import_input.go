package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// What an import keeps of its input: lines that were sent and are not settled, so
// that they can be sent again, also of an input that cannot be read twice.
const (
	importKept = 64 << 20
	// importMaxLine is more than any gateway takes: of a longer line so much is
	// sent that it is refused.
	importMaxLine = 17 << 20
)

// errImportInput says that the input could not be read.
var errImportInput = errors.New("the documents cannot be read")

// importInput is the lines of an import.
type importInput struct {
	in   *bufio.Reader
	skip int64

	mu      sync.Mutex
	changed *sync.Cond
	kept    [][]byte // the lines after the settled ones, as far as they were read
	bytes   int
	settled int64
	reading bool
	err     error // io.EOF at the end
}

func newImportInput(in io.Reader, skip int64) *importInput {
	i := &importInput{in: bufio.NewReaderSize(in, 1<<20), skip: skip, settled: skip}
	i.changed = sync.NewCond(&i.mu)
	return i
}

// settle forgets the lines up to n.
func (i *importInput) settle(n int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for i.settled < n && len(i.kept) > 0 {
		i.bytes -= len(i.kept[0])
		i.kept[0] = nil
		i.kept, i.settled = i.kept[1:], i.settled+1
	}
	i.changed.Broadcast()
}

// failure is why the input could not be read; nil at its end.
func (i *importInput) failure() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err == nil || errors.Is(i.err, io.EOF) {
		return nil
	}
	return fmt.Errorf("%w: %w", errImportInput, i.err)
}

// from returns the lines after the settled ones as a body.
func (i *importInput) from() *importBody {
	i.mu.Lock()
	defer i.mu.Unlock()
	return &importBody{input: i, next: i.settled}
}

// importBody is a body of the lines. Only one at a time may be read: end the one
// before.
type importBody struct {
	input *importInput
	next  int64 // lines before it were sent
	rest  []byte
	ended bool
}

// Read waits while too much is sent and not settled.
func (b *importBody) Read(p []byte) (int, error) {
	b.input.mu.Lock()
	defer b.input.mu.Unlock()
	for len(b.rest) == 0 {
		if b.ended {
			return 0, io.ErrClosedPipe
		}
		at := int(b.next - b.input.settled)
		switch {
		case at < len(b.input.kept):
			b.rest, b.next = b.input.kept[at], b.next+1
		case b.input.err != nil:
			return 0, b.input.err
		case b.input.bytes >= importKept:
			b.input.changed.Wait()
		case b.input.reading: // by a body before, whose line it will be
			b.input.changed.Wait()
		default:
			b.input.read()
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// end stops the body, also one that waits.
func (b *importBody) end() {
	b.input.mu.Lock()
	defer b.input.mu.Unlock()
	b.ended = true
	b.input.changed.Broadcast()
}

// read takes one more line in.
func (i *importInput) read() {
	i.reading = true
	i.mu.Unlock() // standard input may take its time
	line, err := i.line()
	for ; i.skip > 0 && err == nil; i.skip-- {
		line, err = i.line()
	}
	i.mu.Lock()
	i.reading = false
	i.changed.Broadcast()
	if err == nil || len(line) > 0 {
		i.kept, i.bytes = append(i.kept, append(line, '\n')), i.bytes+len(line)+1
	}
	if err != nil {
		i.err = err
	}
}

// line returns the next line without its end, and not all of one that is too long.
func (i *importInput) line() ([]byte, error) {
	var out []byte
	for {
		part, err := i.in.ReadSlice('\n')
		if room := importMaxLine - len(out); room > 0 {
			out = append(out, part[:min(room, len(part))]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(out, []byte("\n")), err
		}
	}
}
