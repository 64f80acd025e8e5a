package auditproof

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxLine bounds a line of a file.
const MaxLine = 4 << 20

// Line is one line of an export, of the file that a trail is kept in, or of one with
// checkpoints: a record, or one of the others.
type Line struct {
	Registration *Registration `json:"chain_registration,omitempty"`
	Checkpoint   string        `json:"checkpoint,omitempty"`
	Key          string        `json:"verification_key,omitempty"`
	*Record
}

// ReadLines calls fn with each line of in. A last line that is not whole is left
// out, and told by the result: a process may have been killed while it wrote.
func ReadLines(in io.Reader, fn func(number int, l Line) error) (torn bool, err error) {
	r := bufio.NewReaderSize(in, 64<<10)
	for number := 1; ; number++ {
		text, err := line(r)
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return false, fmt.Errorf("line %d: %w", number, err)
		}
		if len(bytes.TrimSpace(text)) > 0 {
			var l Line
			if bad := json.Unmarshal(text, &l); bad != nil {
				if ended {
					return true, nil
				}
				return false, fmt.Errorf("line %d is not a line of an audit trail: %w", number, bad)
			}
			if l.Record == nil && l.Registration == nil && l.Checkpoint == "" && l.Key == "" {
				return false, fmt.Errorf("line %d is not a line of an audit trail", number)
			}
			if err := fn(number, l); err != nil {
				return false, err
			}
		}
		if ended {
			return false, nil
		}
	}
}

func line(r *bufio.Reader) (out []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		out = append(out, part...)
		if len(out) > MaxLine {
			return nil, errors.New("the line is too long")
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return out, err
		}
	}
}
