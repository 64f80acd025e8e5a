package embedded

import (
	"encoding/binary"
	"math"
	"strings"
	"unsafe"

	"github.com/poterne/poterne/services/search/internal/filter"
)

// record is what is known of a version apart from its passages.
type record struct {
	id, title  string
	principals []string
	fields     []filter.Field // by path
}

// records are records as bytes that lie together: as slices and strings of their
// own they would take several times as much, and the collector of garbage would
// look at each. Records are only added, and what was written never changes, so
// that the texts read are those bytes, not copies.
type records struct {
	chunks     [][]byte
	paths      names
	principals names
	values     []byte // room for those of a field that is added
}

// The sizes of chunks, which grow with what there is.
const (
	leastChunk = 4 << 10
	mostChunk  = 256 << 10
)

// place names a record.
type place struct{ chunk, at uint32 }

// names numbers texts that many records have.
type names struct {
	numbers map[string]uint32
	texts   []string
}

func (n *names) number(text string) uint32 {
	at, ok := n.numbers[text]
	if !ok {
		if n.numbers == nil {
			n.numbers = make(map[string]uint32)
		}
		text = strings.Clone(text) // what it is a part of may be large
		at = uint32(len(n.texts))
		n.numbers[text], n.texts = at, append(n.texts, text)
	}
	return at
}

// add adds a record.
func (r *records) add(d record) place {
	size := 4*binary.MaxVarintLen32 + len(d.id) + len(d.title) + binary.MaxVarintLen32*len(d.principals)
	for _, f := range d.fields {
		size += 3*binary.MaxVarintLen32 + 1
		for _, v := range f.Values {
			size += 1 + binary.MaxVarintLen64 + binary.MaxVarintLen32 + len(v.Text)
		}
	}
	b := r.room(size)
	at := place{chunk: uint32(len(r.chunks) - 1), at: uint32(len(b))}
	b = appendText(b, d.id)
	b = appendText(b, d.title)
	b = binary.AppendUvarint(b, uint64(len(d.principals)))
	for _, p := range d.principals {
		b = binary.AppendUvarint(b, uint64(r.principals.number(p)))
	}
	b = binary.AppendUvarint(b, uint64(len(d.fields)))
	for _, f := range d.fields {
		b = binary.AppendUvarint(b, uint64(r.paths.number(f.Path)))
		b = append(b, byte(f.Shape))
		r.values = binary.AppendUvarint(r.values[:0], uint64(len(f.Values)))
		for _, v := range f.Values {
			r.values = appendValue(r.values, v)
		}
		b = binary.AppendUvarint(b, uint64(len(r.values)))
		b = append(b, r.values...)
	}
	r.chunks[at.chunk] = b
	return at
}

// room returns a chunk with room for so many bytes, the last.
func (r *records) room(size int) []byte {
	if n := len(r.chunks); n > 0 && cap(r.chunks[n-1])-len(r.chunks[n-1]) >= size {
		return r.chunks[n-1]
	}
	next := leastChunk
	if n := len(r.chunks); n > 0 {
		next = min(2*cap(r.chunks[n-1]), mostChunk)
	}
	r.chunks = append(r.chunks, make([]byte, 0, max(next, size)))
	return r.chunks[len(r.chunks)-1]
}

// read returns a record. It may use the room of another, which then holds no more.
func (r *records) read(at place, room record) record {
	b := r.reader(at)
	out := record{id: b.text(), title: b.text(), principals: room.principals[:0], fields: room.fields[:0]}
	for range b.number() {
		out.principals = append(out.principals, r.principals.texts[b.number()])
	}
	for range b.number() {
		f := filter.Field{Path: r.paths.texts[b.number()], Shape: filter.Shape(b.byte())}
		b.number() // bytes
		if n := len(out.fields); n < cap(out.fields) {
			f.Values = out.fields[:n+1][n].Values[:0]
		}
		f.Values = b.values(f.Values)
		out.fields = append(out.fields, f)
	}
	return out
}

// id returns a record's id.
func (r *records) id(at place) string {
	b := r.reader(at)
	return b.text()
}

// title returns a record's title.
func (r *records) title(at place) string {
	b := r.reader(at)
	b.text()
	return b.text()
}

// field returns a record's field, its values in the room that is given.
func (r *records) field(at place, path string, room []filter.Value) (filter.Field, bool) {
	number, ok := r.paths.numbers[path]
	if !ok {
		return filter.Field{}, false
	}
	b := r.reader(at)
	b.text()
	b.text()
	for range b.number() {
		b.number()
	}
	for range b.number() {
		is, shape, size := b.number(), b.byte(), b.number()
		if is == uint64(number) {
			return filter.Field{Path: path, Shape: filter.Shape(shape), Values: b.values(room[:0])}, true
		}
		b.rest = b.rest[size:]
	}
	return filter.Field{}, false
}

func (r *records) reader(at place) reader { return reader{r.chunks[at.chunk][at.at:]} }

// reader reads what add has written.
type reader struct{ rest []byte }

func (b *reader) byte() byte {
	c := b.rest[0]
	b.rest = b.rest[1:]
	return c
}

func (b *reader) number() uint64 {
	if c := b.rest[0]; c < 0x80 {
		b.rest = b.rest[1:]
		return uint64(c)
	}
	n, size := binary.Uvarint(b.rest)
	b.rest = b.rest[size:]
	return n
}

func (b *reader) text() string {
	n := b.number()
	if n == 0 {
		return ""
	}
	s := unsafe.String(&b.rest[0], int(n))
	b.rest = b.rest[n:]
	return s
}

// What follows the kind of a value.
const (
	kindBits    = 0x0f
	hasText     = 0x10
	wholeNumber = 0x20 // as a varint
	anyNumber   = 0x40 // as eight bytes
)

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendValue(b []byte, v filter.Value) []byte {
	at := len(b)
	b = append(b, byte(v.Kind))
	bits := math.Float64bits(v.Number)
	switch whole := int64(v.Number); {
	case bits == 0:
	case math.Abs(v.Number) < 1<<53 && math.Float64bits(float64(whole)) == bits:
		b[at] |= wholeNumber
		b = binary.AppendVarint(b, whole)
	default:
		b[at] |= anyNumber
		b = binary.LittleEndian.AppendUint64(b, bits)
	}
	if v.Text != "" {
		b[at] |= hasText
		b = appendText(b, v.Text)
	}
	return b
}

func (b *reader) values(out []filter.Value) []filter.Value {
	for range b.number() {
		kind := b.byte()
		v := filter.Value{Kind: filter.Kind(kind & kindBits)}
		switch {
		case kind&wholeNumber != 0:
			n, size := binary.Varint(b.rest)
			v.Number, b.rest = float64(n), b.rest[size:]
		case kind&anyNumber != 0:
			v.Number, b.rest = math.Float64frombits(binary.LittleEndian.Uint64(b.rest)), b.rest[8:]
		}
		if kind&hasText != 0 {
			v.Text = b.text()
		}
		out = append(out, v)
	}
	return out
}
