package tensor

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	oip "github.com/poterne/poterne/proto/gen/inference"
)

// readData reads the elements of a tensor from its JSON, which is valid: either
// one flat array, or arrays nested as the shape says. The error begins with the
// place within the data.
func readData(datatype string, shape []int64, n int, data []byte) (*oip.InferTensorContents, error) {
	r := &dataReader{raw: data, shape: shape, left: n, add: adder(datatype)}
	if r.peek() != '[' {
		return nil, errors.New(": must be an array")
	}
	begin := r.at
	r.at++
	first := r.peek()
	r.at = begin
	var err error
	if first == '[' && len(shape) > 1 {
		err = r.nested(0)
	} else {
		err = r.flat()
	}
	if err != nil {
		return nil, err
	}
	if r.left > 0 {
		return nil, fmt.Errorf(": has %d elements, and the shape %s has %d", n-r.left, shapeText(shape), n)
	}
	return r.add.to, nil
}

// dataReader walks JSON that was found to be valid.
type dataReader struct {
	raw   []byte
	at    int
	shape []int64
	left  int // elements that must still come
	read  int // elements that came
	add   *elements
}

// peek returns the first byte of the next token.
func (r *dataReader) peek() byte {
	for r.at < len(r.raw) {
		switch c := r.raw[r.at]; c {
		case ' ', '\t', '\r', '\n', ',':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// flat reads one array of elements.
func (r *dataReader) flat() error {
	r.at++
	for {
		switch r.peek() {
		case ']':
			r.at++
			return nil
		case '[':
			return fmt.Errorf("[%d]: must be an element, or the arrays must nest as the shape %s does", r.read, shapeText(r.shape))
		}
		if err := r.element(); err != nil {
			return err
		}
	}
}

// nested reads the array of one dimension. Its depth is the shape's, at most 32.
func (r *dataReader) nested(dim int) error {
	if r.peek() != '[' {
		return fmt.Errorf(": must nest as the shape %s does: after %d elements there is no array", shapeText(r.shape), r.read)
	}
	last := dim == len(r.shape)-1
	r.at++
	for i := int64(0); ; i++ {
		if r.peek() == ']' {
			r.at++
			if i != r.shape[dim] {
				return r.wrongLength(dim, i)
			}
			return nil
		}
		if i == r.shape[dim] {
			return r.wrongLength(dim, i+1)
		}
		var err error
		switch {
		case !last:
			err = r.nested(dim + 1)
		case r.peek() == '[':
			err = fmt.Errorf(": nests deeper than the shape %s", shapeText(r.shape))
		default:
			err = r.element()
		}
		if err != nil {
			return err
		}
	}
}

func (r *dataReader) wrongLength(dim int, got int64) error {
	return fmt.Errorf(": dimension %d of the shape %s is %d, and an array after %d elements has %d or more items",
		dim, shapeText(r.shape), r.shape[dim], r.read, got)
}

// element reads one scalar.
func (r *dataReader) element() error {
	if r.left == 0 {
		return fmt.Errorf(": has more elements than the shape %s", shapeText(r.shape))
	}
	begin := r.at
	if r.raw[begin] == '"' {
		for r.at++; r.raw[r.at] != '"'; r.at++ {
			if r.raw[r.at] == '\\' {
				r.at++
			}
		}
		r.at++
	} else {
		r.at += max(bytes.IndexAny(r.raw[r.at:], ", \t\r\n]{}["), 1)
	}
	if want := r.add.one(r.raw[begin:r.at]); want != "" {
		return fmt.Errorf("[%d]: must be %s", r.read, want)
	}
	r.left--
	r.read++
	return nil
}

// elements collects the elements of one type. one takes a JSON scalar and says
// what it must be when it is not.
type elements struct {
	to  *oip.InferTensorContents
	one func(token []byte) (want string)
}

// adder returns the collector of a type that has typed contents. It grows with
// what comes, and not by what the shape claims.
func adder(datatype string) *elements {
	to := new(oip.InferTensorContents)
	width := bits(datatype)
	e := &elements{to: to}
	switch datatype {
	case typeBool:
		e.one = func(token []byte) string { return addBool(&to.BoolContents, token) }
	case typeInt8, typeInt16, typeInt32:
		e.one = func(token []byte) string { return addInt(&to.IntContents, token, width, datatype) }
	case typeInt64:
		e.one = func(token []byte) string { return addInt(&to.Int64Contents, token, width, datatype) }
	case typeUint8, typeUint16, typeUint32:
		e.one = func(token []byte) string { return addUint(&to.UintContents, token, width, datatype) }
	case typeUint64:
		e.one = func(token []byte) string { return addUint(&to.Uint64Contents, token, width, datatype) }
	case typeFP32:
		e.one = func(token []byte) string { return addFloat(&to.Fp32Contents, token, width) }
	case typeFP64:
		e.one = func(token []byte) string { return addFloat(&to.Fp64Contents, token, width) }
	default:
		e.one = func(token []byte) string { return addBytes(&to.BytesContents, token) }
	}
	return e
}

func addBool(to *[]bool, token []byte) string {
	switch string(token) {
	case "true":
		*to = append(*to, true)
	case "false":
		*to = append(*to, false)
	default:
		return "true or false"
	}
	return ""
}

func addInt[T int32 | int64](to *[]T, token []byte, width int, datatype string) string {
	v, err := strconv.ParseInt(string(token), 10, width)
	if err != nil {
		return "a whole number from " + rangeOf(datatype)
	}
	*to = append(*to, T(v))
	return ""
}

func addUint[T uint32 | uint64](to *[]T, token []byte, width int, datatype string) string {
	v, err := strconv.ParseUint(string(token), 10, width)
	if err != nil {
		return "a whole number from " + rangeOf(datatype)
	}
	*to = append(*to, T(v))
	return ""
}

func addFloat[T float32 | float64](to *[]T, token []byte, width int) string {
	v, err := strconv.ParseFloat(string(token), width)
	if err != nil || token[0] != '-' && (token[0] < '0' || token[0] > '9') {
		return "a number within the range of its type"
	}
	*to = append(*to, T(v))
	return ""
}

func addBytes(to *[][]byte, token []byte) string {
	if token[0] != '"' {
		return "a string"
	}
	v, err := jsontext.AppendUnquote(nil, token)
	if err != nil {
		return "a string of valid Unicode"
	}
	*to = append(*to, v)
	return ""
}
