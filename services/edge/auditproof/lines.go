package auditproof

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxLine bounds a line of a file.
const MaxLine = 4 << 20

// Line is one line of an export, of the file that a trail is kept in, or of one with
// checkpoints: a record, or one of the others.
type Line struct {
	Registration *Registration `json:"chain_registration,omitempty"`
	Checkpoint   string        `json:"checkpoint,omitempty"`
	Key          string        `json:"verification_key,omitempty"`
	// Proof is the inclusion proof of Record: see Inclusion.
	Proof string `json:"proof,omitempty"`
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
			l, bad := parse(text)
			if bad != nil {
				if ended && !json.Valid(text) {
					return true, nil
				}
				return false, fmt.Errorf("line %d is not a line of an audit trail: %w", number, bad)
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

// parse reads a line strictly: what a hash does not cover must not stand in it, and
// each name once, so that everybody reads the same.
func parse(text []byte) (l Line, err error) {
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&l); err != nil {
		return l, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if l.Record == nil && l.Registration == nil && l.Checkpoint == "" && l.Key == "" {
		return l, errors.New("it has neither a record, a registration, a checkpoint nor a key")
	}
	// Names in other letters, and texts that are read in two ways, come out otherwise.
	again, err := json.Marshal(l)
	if err != nil {
		return l, fmt.Errorf("it cannot be written again: %w", err)
	}
	was, is := jsontext.Value(text), jsontext.Value(again)
	if err := was.Canonicalize(); err != nil {
		return l, errors.New("it can be read in more than one way")
	}
	if err := is.Canonicalize(); err != nil || !bytes.Equal(was, is) {
		return l, errors.New("it has something in it that no trail writes")
	}
	return l, nil
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
