package segment

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/blevesearch/mmap-go"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// A segment's file is a header, zeros up to dataAt, the rows, and a tail: the
// keys, the checksum of every block of rows, and the checksum of the tail.
// Rows begin at a page, so that they are aligned where they are mapped.
const dataAt = 4096

// Segment is a file of rows that never changes, mapped into memory.
type Segment struct {
	seq    uint64
	layout vector.Layout
	keys   []Key
	rows   int
	mapped mmap.MMap
}

// Keys returns the versions, in the order of their rows. It must not be changed.
func (s *Segment) Keys() []Key { return s.keys }

// Rows returns how many rows there are.
func (s *Segment) Rows() int { return s.rows }

// Blocks returns the rows. They may be read until the segment is closed, and
// no longer: reading on ends the process.
func (s *Segment) Blocks() []vector.Block {
	size := vector.BlockRows * s.layout.Stride()
	data := s.data()
	var out []vector.Block
	for len(data) > 0 {
		n := min(size, len(data))
		out = append(out, s.layout.Block(data[:n:n]))
		data = data[n:]
	}
	return out
}

func (s *Segment) data() []byte {
	end := dataAt + s.rows*s.layout.Stride()
	return s.mapped[dataAt:end:end]
}

// Unneeded takes the rows out of the process's memory until they are read again:
// who has read them all says so, for else they would count as its memory until
// the system wants some back. Others may be reading them.
func (s *Segment) Unneeded() {
	if s.mapped != nil {
		unneeded(s.mapped)
	}
}

// Close unmaps the file.
func (s *Segment) Close() error {
	if s.mapped == nil {
		return nil
	}
	err := s.mapped.Unmap()
	s.mapped = nil
	if err != nil {
		return fmt.Errorf("vector segment %d: unmap: %w", s.seq, err)
	}
	return nil
}

// openSegment maps a file and reads all of it once, to know that it is whole.
func openSegment(path string, seq uint64, l vector.Layout) (seg *Segment, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < dataAt {
		return nil, damaged("it is cut off")
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	s := &Segment{seq: seq, layout: l, mapped: m}
	if err := s.verify(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Unneeded()
	return s, nil
}

func (s *Segment) verify() error {
	h, err := decodeHeader(s.mapped, segmentMagic)
	if err != nil {
		return err
	}
	if h.layout != s.layout {
		return damaged("it is of another layout")
	}
	blocks := (int64(h.rows) + vector.BlockRows - 1) / vector.BlockRows
	tailAt := dataAt + int64(h.rows)*int64(h.layout.Stride())
	keysEnd := tailAt + int64(h.keys)*keyBytes
	if int64(len(s.mapped)) != keysEnd+4*blocks+4 {
		return damaged("it has %d bytes", len(s.mapped))
	}
	tail := s.mapped[tailAt : len(s.mapped)-4]
	if checksum(tail) != binary.LittleEndian.Uint32(s.mapped[len(s.mapped)-4:]) {
		return damaged("the keys' checksum is wrong")
	}
	s.rows = int(h.rows)
	sums := s.mapped[keysEnd:]
	for data := s.data(); len(data) > 0; sums = sums[4:] {
		n := min(len(data), vector.BlockRows*h.layout.Stride())
		if checksum(data[:n]) != binary.LittleEndian.Uint32(sums) {
			return damaged("a block's checksum is wrong")
		}
		data = data[n:]
	}
	total := 0
	s.keys = make([]Key, h.keys)
	for i := range s.keys {
		s.keys[i] = decodeKey(tail[i*keyBytes:])
		total += int(s.keys[i].Count)
	}
	if total != s.rows {
		return damaged("its keys have %d rows, it has %d", total, s.rows)
	}
	return nil
}

// plan is what is known of a segment before it is written.
type plan struct {
	layout vector.Layout
	keys   []Key
}

func (p plan) rows() int {
	n := 0
	for _, k := range p.keys {
		n += int(k.Count)
	}
	return n
}

// write writes the file; rows calls put with the rows of the keys, in order and
// in pieces of any number of whole rows.
func (p plan) write(w io.Writer, rows func(put func(rows []byte) error) error) error {
	out := bufio.NewWriterSize(w, 1<<20)
	h := header{magic: segmentMagic, layout: p.layout, rows: uint32(p.rows()), keys: uint32(len(p.keys))}
	start := make([]byte, dataAt)
	copy(start, h.encode())
	if _, err := out.Write(start); err != nil {
		return err
	}
	sums := blockSums{size: vector.BlockRows * p.layout.Stride()}
	if err := rows(func(b []byte) error {
		sums.add(b)
		_, err := out.Write(b)
		return err
	}); err != nil {
		return err
	}
	var tail []byte
	for _, k := range p.keys {
		tail = k.append(tail)
	}
	for _, sum := range sums.done() {
		tail = binary.LittleEndian.AppendUint32(tail, sum)
	}
	tail = binary.LittleEndian.AppendUint32(tail, checksum(tail))
	if _, err := out.Write(tail); err != nil {
		return err
	}
	return out.Flush()
}
