// Package backup writes a collection as one stream of bytes and reads it back.
// The stream is a magic, a version and frames: first the collection's settings,
// then each document and the vectors of its passages, then how many there were,
// and last the SHA-256 of everything before it. What is read is checked whole
// before anything of it is used. Start reading at Write and Open.
package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/poterne/poterne/pkg/apierr"
)

// magic begins every backup, and formatVersion follows it: it is raised when
// older readers would misread what is written.
const (
	magic         = "PTBACKUP"
	formatVersion = 1
)

// The kinds of frames. A frame is its kind (a byte), the length of what follows
// (4 bytes, the lowest first) and that.
const (
	frameHeader   = 1 // JSON: Header
	frameDocument = 2 // JSON: document
	frameVectors  = 3 // of the document before: float32, the lowest byte first
	frameEnd      = 4 // JSON: counts
)

const frameHead = 5

// The most that a frame may take: the vectors of 8192 passages of 4096
// dimensions, and a document with its text, its passages and its metadata as
// JSON, which may write a byte as six.
const (
	maxVectorsBytes  = 8192 * 4096 * 4
	maxDocumentBytes = 64 << 20
	maxOtherBytes    = 1 << 20
)

func maxFrame(kind byte) int64 {
	switch kind {
	case frameVectors:
		return maxVectorsBytes
	case frameDocument:
		return maxDocumentBytes
	default:
		return maxOtherBytes
	}
}

// counts are what a backup says at its end.
type counts struct {
	Documents int `json:"documents"`
	Chunks    int `json:"chunks"`
}

// invalid says that what is restored is no whole backup.
func invalid(format string, args ...any) error {
	return apierr.Invalid("data", "the backup cannot be restored: "+format, args...)
}

// frames writes frames and hashes what it writes.
type frames struct {
	to   io.Writer
	hash hash.Hash
}

func newFrames(to io.Writer) (*frames, error) {
	f := &frames{hash: sha256.New()}
	f.to = io.MultiWriter(to, f.hash)
	_, err := f.to.Write(binary.LittleEndian.AppendUint32([]byte(magic), formatVersion))
	return f, err
}

func (f *frames) write(kind byte, b []byte) error {
	if int64(len(b)) > maxFrame(kind) {
		return fmt.Errorf("backup: a frame of %d bytes", len(b))
	}
	head := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(b)))
	if _, err := f.to.Write(head); err != nil {
		return err
	}
	_, err := f.to.Write(b)
	return err
}

func (f *frames) writeJSON(kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return f.write(kind, b)
}

// readStart reads what comes before the frames.
func readStart(r io.Reader) error {
	start := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(r, start); err != nil || string(start[:len(magic)]) != magic {
		return invalid("it is no backup of a collection")
	}
	if v := binary.LittleEndian.Uint32(start[len(magic):]); v != formatVersion {
		return invalid("it is of version %d; this service reads %d", v, formatVersion)
	}
	return nil
}

// readFrame reads the next frame, into room where that is large enough. What is
// asked for grows with what has come, not with what is announced.
func readFrame(r io.Reader, room []byte) (kind byte, b []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, cut(err)
	}
	kind = head[0]
	n := int64(binary.LittleEndian.Uint32(head[1:]))
	if kind < frameHeader || kind > frameEnd || n > maxFrame(kind) {
		return 0, nil, invalid("it holds what no backup holds")
	}
	b = room[:0]
	const piece = 1 << 20
	for int64(len(b)) < n {
		at, more := len(b), min(n-int64(len(b)), piece)
		b = append(b, make([]byte, more)...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return 0, nil, cut(err)
		}
	}
	return kind, b, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("it is cut off")
	}
	return fmt.Errorf("backup: read: %w", err)
}

// verify reads all of r, which must be a whole backup: its frames, its hash, and
// nothing after it.
func verify(r io.Reader) error {
	h := sha256.New()
	in := io.TeeReader(r, h)
	if err := readStart(in); err != nil {
		return err
	}
	var room []byte
	for {
		kind, b, err := readFrame(in, room)
		if err != nil {
			return err
		}
		room = b
		if kind == frameEnd {
			break
		}
	}
	want := h.Sum(nil)
	got := make([]byte, sha256.Size+1)
	n, err := io.ReadFull(r, got)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return cut(err)
	}
	if n != sha256.Size || !bytes.Equal(got[:n], want) {
		return invalid("its hash is not that of what it holds: it is cut off or was changed")
	}
	return nil
}
