package tensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	oip "github.com/poterne/poterne/proto/gen/inference"
)

// held is how many elements there are in all fields of c.
func held(c *oip.InferTensorContents) int {
	return len(c.GetBoolContents()) + len(c.GetIntContents()) + len(c.GetInt64Contents()) + len(c.GetUintContents()) +
		len(c.GetUint64Contents()) + len(c.GetFp32Contents()) + len(c.GetFp64Contents()) + len(c.GetBytesContents())
}

// field returns the name of the field that a type's elements are in, and how
// many are there; "" for types that have none.
func field(datatype string, c *oip.InferTensorContents) (string, int) {
	switch datatype {
	case typeBool:
		return "bool_contents", len(c.GetBoolContents())
	case typeInt8, typeInt16, typeInt32:
		return "int_contents", len(c.GetIntContents())
	case typeInt64:
		return "int64_contents", len(c.GetInt64Contents())
	case typeUint8, typeUint16, typeUint32:
		return "uint_contents", len(c.GetUintContents())
	case typeUint64:
		return "uint64_contents", len(c.GetUint64Contents())
	case typeFP32:
		return "fp32_contents", len(c.GetFp32Contents())
	case typeFP64:
		return "fp64_contents", len(c.GetFp64Contents())
	case typeBytes:
		return "bytes_contents", len(c.GetBytesContents())
	default:
		return "", 0
	}
}

// checkContents holds typed contents to n elements of the type, and returns
// their size as raw bytes.
func checkContents(datatype string, n int, c *oip.InferTensorContents) (int, error) {
	name, got := field(datatype, c)
	if name == "" {
		return 0, fmt.Errorf("%s has no typed contents: send raw_input_contents", datatype)
	}
	if held(c) != got {
		return 0, fmt.Errorf("%s elements belong into %s alone", datatype, name)
	}
	if got != n {
		return 0, fmt.Errorf("%s has %d elements, and the shape %d", name, got, n)
	}
	if err := checkWidth(datatype, c); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	size, _ := sizeOf(datatype)
	total := n * size
	for _, b := range c.GetBytesContents() {
		total += lengthBytes + len(b)
	}
	return total, nil
}

// checkWidth refuses numbers that their narrow type does not hold.
func checkWidth(datatype string, c *oip.InferTensorContents) error {
	shift := 64 - bits(datatype)
	switch datatype {
	case typeInt8, typeInt16:
		for i, v := range c.GetIntContents() {
			if int64(v)<<shift>>shift != int64(v) {
				return fmt.Errorf("element %d is %d, and %s is from %s", i, v, datatype, rangeOf(datatype))
			}
		}
	case typeUint8, typeUint16:
		for i, v := range c.GetUintContents() {
			if uint64(v)<<shift>>shift != uint64(v) {
				return fmt.Errorf("element %d is %d, and %s is from %s", i, v, datatype, rangeOf(datatype))
			}
		}
	}
	return nil
}

var errNoContents = errors.New("has no elements")

// toRaw returns typed contents, which checkContents has let pass, as raw bytes.
func toRaw(datatype string, c *oip.InferTensorContents) ([]byte, error) {
	var out []byte
	le := binary.LittleEndian
	switch datatype {
	case typeBool:
		for _, v := range c.GetBoolContents() {
			out = append(out, bit(v))
		}
	case typeInt8:
		for _, v := range c.GetIntContents() {
			out = append(out, byte(v))
		}
	case typeInt16:
		for _, v := range c.GetIntContents() {
			out = le.AppendUint16(out, uint16(v))
		}
	case typeInt32:
		for _, v := range c.GetIntContents() {
			out = le.AppendUint32(out, uint32(v))
		}
	case typeInt64:
		for _, v := range c.GetInt64Contents() {
			out = le.AppendUint64(out, uint64(v))
		}
	case typeUint8:
		for _, v := range c.GetUintContents() {
			out = append(out, byte(v))
		}
	case typeUint16:
		for _, v := range c.GetUintContents() {
			out = le.AppendUint16(out, uint16(v))
		}
	case typeUint32:
		for _, v := range c.GetUintContents() {
			out = le.AppendUint32(out, v)
		}
	case typeUint64:
		for _, v := range c.GetUint64Contents() {
			out = le.AppendUint64(out, v)
		}
	case typeFP32:
		for _, v := range c.GetFp32Contents() {
			out = le.AppendUint32(out, math.Float32bits(v))
		}
	case typeFP64:
		for _, v := range c.GetFp64Contents() {
			out = le.AppendUint64(out, math.Float64bits(v))
		}
	case typeBytes:
		for _, v := range c.GetBytesContents() {
			out = append(le.AppendUint32(out, uint32(len(v))), v...)
		}
	default:
		return nil, errNoContents
	}
	return out, nil
}

// fromRaw returns raw bytes, which checkRaw has let pass, as typed contents.
// Types without such have only raw bytes.
func fromRaw(datatype string, raw []byte) *oip.InferTensorContents {
	c, le := new(oip.InferTensorContents), binary.LittleEndian
	size, _ := sizeOf(datatype)
	for ; len(raw) > 0; raw = raw[size:] {
		switch datatype {
		case typeBool:
			c.BoolContents = append(c.BoolContents, raw[0] != 0)
		case typeInt8:
			c.IntContents = append(c.IntContents, int32(int8(raw[0])))
		case typeInt16:
			c.IntContents = append(c.IntContents, int32(int16(le.Uint16(raw))))
		case typeInt32:
			c.IntContents = append(c.IntContents, int32(le.Uint32(raw)))
		case typeInt64:
			c.Int64Contents = append(c.Int64Contents, int64(le.Uint64(raw)))
		case typeUint8:
			c.UintContents = append(c.UintContents, uint32(raw[0]))
		case typeUint16:
			c.UintContents = append(c.UintContents, uint32(le.Uint16(raw)))
		case typeUint32:
			c.UintContents = append(c.UintContents, le.Uint32(raw))
		case typeUint64:
			c.Uint64Contents = append(c.Uint64Contents, le.Uint64(raw))
		case typeFP32:
			c.Fp32Contents = append(c.Fp32Contents, math.Float32frombits(le.Uint32(raw)))
		case typeFP64:
			c.Fp64Contents = append(c.Fp64Contents, math.Float64frombits(le.Uint64(raw)))
		case typeBytes:
			length := int(le.Uint32(raw))
			c.BytesContents = append(c.BytesContents, raw[lengthBytes:lengthBytes+length])
			raw = raw[lengthBytes+length:]
		default:
			return c
		}
	}
	return c
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}
