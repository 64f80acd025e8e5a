// Package tensor reads, bounds and writes the tensors of the Open Inference
// Protocol: what a request may hold, and its form over REST with the binary
// extension. It knows neither models nor callers. Start reading at Limits.Check
// and Limits.Decode.
package tensor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The types of elements.
const (
	typeBool   = "BOOL"
	typeInt8   = "INT8"
	typeInt16  = "INT16"
	typeInt32  = "INT32"
	typeInt64  = "INT64"
	typeUint8  = "UINT8"
	typeUint16 = "UINT16"
	typeUint32 = "UINT32"
	typeUint64 = "UINT64"
	typeFP16   = "FP16"
	typeBF16   = "BF16"
	typeFP32   = "FP32"
	typeFP64   = "FP64"
	typeBytes  = "BYTES"
)

// sizeOf is the bytes of one element; 0 for BYTES, whose elements have their
// length before them, and false for a type that there is not.
func sizeOf(datatype string) (int, bool) {
	switch datatype {
	case typeBool, typeInt8, typeUint8:
		return 1, true
	case typeInt16, typeUint16, typeFP16, typeBF16:
		return 2, true
	case typeInt32, typeUint32, typeFP32:
		return 4, true
	case typeInt64, typeUint64, typeFP64:
		return 8, true
	case typeBytes:
		return 0, true
	default:
		return 0, false
	}
}

// lengthBytes come before each element of BYTES, little-endian.
const lengthBytes = 4

// bits is the width of a type's whole numbers.
func bits(datatype string) int {
	size, _ := sizeOf(datatype)
	return 8 * size
}

// rangeOf says which whole numbers a type holds, for messages.
func rangeOf(datatype string) string {
	n := bits(datatype)
	if strings.HasPrefix(datatype, "UINT") {
		return "0 to " + strconv.FormatUint(math.MaxUint64>>(64-n), 10)
	}
	return fmt.Sprintf("%d to %d", int64(math.MinInt64)>>(64-n), int64(math.MaxInt64)>>(64-n))
}

// count is the number of elements of a shape, or why it cannot be: a negative
// dimension, or more than limit. A dimension of 0 does not excuse the others.
func count(shape []int64, limit int) (int, error) {
	n, empty := int64(1), false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, fmt.Errorf("must not have a negative dimension, got %d", d)
		case d == 0:
			empty = true
		case d > int64(limit)/n:
			return 0, fmt.Errorf("has more than %d elements", limit)
		default:
			n *= d
		}
	}
	if empty {
		return 0, nil
	}
	return int(n), nil
}

// shapeText writes a shape as JSON does.
func shapeText(shape []int64) string {
	b := []byte{'['}
	for i, d := range shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, d, 10)
	}
	return string(append(b, ']'))
}
