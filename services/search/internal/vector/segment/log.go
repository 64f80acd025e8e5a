package segment

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// A log is a header and records: the length of what follows, its checksum
// (over the length, too), the key and the rows.
const recordHead = 8

// appendRecord appends a version's record.
func appendRecord(b []byte, v Version) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(keyBytes+len(v.Rows)))
	b = append(b, 0, 0, 0, 0)
	b = v.append(b)
	b = append(b, v.Rows...)
	binary.LittleEndian.PutUint32(b[start+4:], recordSum(b[start:start+4], b[start+recordHead:]))
	return b
}

func recordSum(length, rest []byte) uint32 {
	return crc32.Update(checksum(length), castagnoli(), rest)
}

// readLog calls yield for every version up to the first that is not whole, and
// returns how many bytes they and the header take. The rows are yield's until it
// returns. A log without a whole header is damaged; what follows the last whole
// record is not, because a write may have been cut off.
func readLog(path string, l vector.Layout, yield func(v Version) error) (good int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, headerBytes)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, damaged("the header is cut off")
	}
	h, err := decodeHeader(head, logMagic)
	if err != nil {
		return 0, err
	}
	if h.layout != l {
		return 0, damaged("it is of another layout")
	}
	var room []byte
	for good = headerBytes; ; {
		rest, err := readRecord(r, info.Size()-good, &room)
		if err != nil {
			return good, ignoreTorn(err)
		}
		k := decodeKey(rest)
		if int64(len(rest)-keyBytes) != int64(k.Count)*int64(l.Stride()) {
			return good, nil
		}
		if err := yield(Version{Key: k, Rows: rest[keyBytes:]}); err != nil {
			return good, err
		}
		good += int64(recordHead + len(rest))
	}
}

// readRecord returns what follows a record's head, or errDamaged when it is not
// whole.
func readRecord(r io.Reader, left int64, room *[]byte) ([]byte, error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, torn(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n < keyBytes || n > left-recordHead {
		return nil, errDamaged
	}
	if int64(cap(*room)) < n {
		*room = make([]byte, n)
	}
	rest := (*room)[:n]
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, torn(err)
	}
	if recordSum(head[:4], rest) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errDamaged
	}
	return rest, nil
}

func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errDamaged
	}
	return fmt.Errorf("read: %w", err)
}

func ignoreTorn(err error) error {
	if errors.Is(err, errDamaged) {
		return nil
	}
	return err
}
