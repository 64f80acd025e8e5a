package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// castagnoli is the polynomial of every checksum (CRC-32C, which processors
// compute).
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }

// errDamaged says that a file is not what was written.
var errDamaged = errors.New("damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

// The kinds of file, by their first bytes.
const (
	logMagic     = "PTVECLOG"
	segmentMagic = "PTVECSEG"
)

// formatVersion is raised when files are written otherwise; older ones are made
// anew.
const formatVersion = 1

// byteOrder is written as the machine has it: rows are, and those of another
// machine must not be read.
const byteOrder = 0x01020304

// headerBytes is what a header takes, its checksum included.
const headerBytes = 64

// header begins a log and a segment.
type header struct {
	magic  string
	layout vector.Layout
	rows   uint32 // 0 in a log
	keys   uint32 // 0 in a log
}

func (h header) encode() []byte {
	b := make([]byte, 0, headerBytes)
	b = append(b, h.magic...)
	b = binary.NativeEndian.AppendUint32(b, byteOrder)
	for _, n := range []uint32{
		formatVersion, uint32(h.layout.Width), code(metrics(), h.layout.Metric), code(encodings(), h.layout.Encoding), h.rows, h.keys,
	} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = append(b, make([]byte, headerBytes-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

func decodeHeader(b []byte, magic string) (header, error) {
	if len(b) < headerBytes {
		return header{}, damaged("the header is cut off")
	}
	b = b[:headerBytes]
	sum := b[headerBytes-4:]
	if checksum(b[:headerBytes-4]) != binary.LittleEndian.Uint32(sum) {
		return header{}, damaged("the header's checksum is wrong")
	}
	if !bytes.HasPrefix(b, []byte(magic)) {
		return header{}, damaged("the header is another kind of file's")
	}
	at := func(i int) uint32 { return binary.LittleEndian.Uint32(b[len(magic)+4*i:]) }
	h := header{magic: magic, rows: at(5), keys: at(6)}
	if binary.NativeEndian.Uint32(b[len(magic):]) != byteOrder || at(1) != formatVersion {
		return header{}, damaged("it is of another version, or of a machine of another byte order")
	}
	h.layout.Width = int(at(2))
	h.layout.Metric, h.layout.Encoding = decode(metrics(), at(3)), decode(encodings(), at(4))
	if !h.layout.Valid() {
		return header{}, damaged("its layout is unknown")
	}
	return h, nil
}

// metrics and encodings are written as their places here, from 1.
func metrics() []vector.Metric {
	return []vector.Metric{vector.Cosine, vector.DotProduct, vector.L2}
}

func encodings() []vector.Encoding { return []vector.Encoding{vector.Float32, vector.Int8} }

func code[T comparable](all []T, one T) uint32 {
	for i, t := range all {
		if t == one {
			return uint32(i + 1)
		}
	}
	return 0
}

func decode[T any](all []T, n uint32) (out T) {
	if n >= 1 && int(n) <= len(all) {
		out = all[n-1]
	}
	return out
}

// Key names a version's rows.
type Key struct {
	// No is the version's number.
	No int64
	// Count is how many rows it has, one a passage.
	Count uint32
	// Terms is how many terms its passages have together.
	Terms uint32
}

const keyBytes = 16

func (k Key) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(k.No))
	b = binary.LittleEndian.AppendUint32(b, k.Count)
	return binary.LittleEndian.AppendUint32(b, k.Terms)
}

func decodeKey(b []byte) Key {
	return Key{
		No:    int64(binary.LittleEndian.Uint64(b)),
		Count: binary.LittleEndian.Uint32(b[8:]),
		Terms: binary.LittleEndian.Uint32(b[12:]),
	}
}

// Version is a version's key with its rows, as the layout encodes them.
type Version struct {
	Key
	Rows []byte
}
