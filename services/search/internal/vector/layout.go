package vector

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Metric says what makes two vectors near.
type Metric string

// The metrics. A score is higher for what is nearer, whichever it is.
const (
	// Cosine scores by the cosine of the angle.
	Cosine Metric = "cosine"
	// DotProduct scores by the inner product.
	DotProduct Metric = "dot"
	// L2 scores by the square of the Euclidean distance, negated.
	L2 Metric = "l2"
)

// Encoding says how a row is kept.
type Encoding string

// The encodings.
const (
	// Float32 keeps every value as it is.
	Float32 Encoding = "float32"
	// Int8 keeps every value in a byte, as a part of the row's largest.
	Int8 Encoding = "int8"
)

// MaxWidth is the most dimensions that are kept.
const MaxWidth = 4096

// Layout is how rows are kept and compared.
type Layout struct {
	Width    int
	Metric   Metric
	Encoding Encoding
}

// Valid reports whether rows can be kept so.
func (l Layout) Valid() bool {
	return l.Width > 0 && l.Width <= MaxWidth &&
		(l.Metric == Cosine || l.Metric == DotProduct || l.Metric == L2) &&
		(l.Encoding == Float32 || l.Encoding == Int8)
}

// scaleBytes is what an int8 row's scale takes, before its values.
const scaleBytes = 4

// Stride is how many bytes a row takes: a multiple of 4.
func (l Layout) Stride() int {
	if l.Encoding == Int8 {
		return scaleBytes + (l.Width+3)/4*4
	}
	return 4 * l.Width
}

// Encode appends a row to b, in this machine's byte order. For the cosine it is
// scaled to length 1; a vector without a direction becomes zeros, and so does one
// with values that are no numbers.
func (l Layout) Encode(b []byte, v []float32) []byte {
	switch {
	case l.Metric == Cosine:
		v = Normalized(v)
	case !Finite(v):
		v = make([]float32, l.Width)
	}
	if l.Encoding == Int8 {
		return l.quantize(b, v)
	}
	for _, x := range v[:l.Width] {
		b = binary.NativeEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// Finite reports whether all values are numbers.
func Finite(v []float32) bool {
	for _, x := range v {
		if x-x != 0 { // of infinities and what is no number, too
			return false
		}
	}
	return true
}

// quantize keeps values as 1/127ths of the row's largest.
func (l Layout) quantize(b []byte, v []float32) []byte {
	largest := float32(0)
	for _, x := range v {
		largest = max(largest, x, -x)
	}
	scale, per := largest/math.MaxInt8, float32(0)
	if scale > 0 {
		per = 1 / scale
	}
	b = binary.NativeEndian.AppendUint32(b, math.Float32bits(scale))
	for _, x := range v[:l.Width] {
		q := math.RoundToEven(float64(x * per))
		b = append(b, byte(int8(min(max(q, -math.MaxInt8), math.MaxInt8))))
	}
	for range l.Stride() - scaleBytes - l.Width {
		b = append(b, 0)
	}
	return b
}

// Block is up to BlockRows rows that lie together, in memory or in a mapped
// file.
type Block struct {
	bytes  []byte    // of int8 rows
	floats []float32 // of float32 rows
}

// Block returns the rows in b, which is not copied and must begin at a multiple
// of 4 in memory.
func (l Layout) Block(b []byte) Block {
	if l.Encoding == Int8 || len(b) == 0 {
		return Block{bytes: b}
	}
	return Block{floats: unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4)}
}

// add appends a row as Encode made it.
func (k *Block) add(l Layout, row []byte) {
	if l.Encoding == Int8 {
		k.bytes = append(k.bytes, row...)
		return
	}
	for i := 0; i+4 <= len(row); i += 4 {
		k.floats = append(k.floats, math.Float32frombits(binary.NativeEndian.Uint32(row[i:])))
	}
}

// rows returns how many rows there are.
func (k *Block) rows(l Layout) int {
	if l.Encoding == Int8 {
		return len(k.bytes) / l.Stride()
	}
	return len(k.floats) / l.Width
}

// float32s returns row i of a float32 block.
func (k *Block) float32s(l Layout, i int) []float32 {
	at := i * l.Width
	return k.floats[at : at+l.Width : at+l.Width]
}

// int8s returns row i of an int8 block, and what its values are multiplied by.
func (k *Block) int8s(l Layout, i int) ([]int8, float32) {
	row := k.bytes[i*l.Stride():][:l.Stride()]
	values := row[scaleBytes : scaleBytes+l.Width]
	scale := math.Float32frombits(binary.NativeEndian.Uint32(row))
	return unsafe.Slice((*int8)(unsafe.Pointer(&values[0])), l.Width), scale
}

// row8 returns the bytes of row i's values in an int8 block, padding included.
func (k *Block) row8(l Layout, i int) []byte {
	stride := l.Stride()
	return k.bytes[i*stride+scaleBytes : (i+1)*stride]
}

// raw returns the bytes of all rows.
func (k *Block) raw(l Layout) []byte {
	if l.Encoding == Int8 || len(k.floats) == 0 {
		return k.bytes
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&k.floats[0])), 4*len(k.floats))
}
