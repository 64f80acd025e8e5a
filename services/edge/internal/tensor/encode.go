package tensor

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

// Encode writes an answer: its JSON, and the bytes behind it of the outputs
// that are wanted so.
func Encode(resp *oip.ModelInferResponse, binary Binary) (head, tail []byte, err error) {
	raw := resp.GetRawOutputContents()
	if len(raw) > 0 && len(raw) != len(resp.GetOutputs()) {
		return nil, nil, brokenAnswer(fmt.Errorf("%d raw contents for %d outputs", len(raw), len(resp.GetOutputs())))
	}
	head = append(head, `{"model_name":`...)
	head = quote(head, resp.GetModelName())
	if v := resp.GetModelVersion(); v != "" {
		head = quote(append(head, `,"model_version":`...), v)
	}
	if id := resp.GetId(); id != "" {
		head = quote(append(head, `,"id":`...), id)
	}
	if p := resp.GetParameters(); len(p) > 0 {
		head = appendParameters(append(head, `,"parameters":`...), p)
	}
	head = append(head, `,"outputs":[`...)
	for i, out := range resp.GetOutputs() {
		if i > 0 {
			head = append(head, ',')
		}
		var bytes []byte
		if len(raw) > 0 {
			bytes = raw[i]
		}
		if head, tail, err = appendOutput(head, tail, out, bytes, len(raw) > 0, binary.wants(out.GetName())); err != nil {
			return nil, nil, err
		}
	}
	return append(head, ']', '}'), tail, nil
}

func brokenAnswer(err error) error {
	return apierr.Wrap(apierr.EngineFailed, err, "the engine's answer cannot be read")
}

func appendOutput(head, tail []byte, out *oip.ModelInferResponse_InferOutputTensor, raw []byte, isRaw, binary bool) ([]byte, []byte, error) {
	datatype := out.GetDatatype()
	if err := checkOutput(out, raw, isRaw); err != nil {
		return nil, nil, brokenAnswer(fmt.Errorf("output %q: %w", out.GetName(), err))
	}
	head = quote(append(head, `{"name":`...), out.GetName())
	head = quote(append(head, `,"datatype":`...), datatype)
	head = append(append(head, `,"shape":`...), shapeText(out.GetShape())...)
	parameters := maps.Clone(out.GetParameters())
	if binary {
		if !isRaw {
			var err error
			if raw, err = toRaw(datatype, out.GetContents()); err != nil {
				return nil, nil, brokenAnswer(fmt.Errorf("output %q: %w", out.GetName(), err))
			}
		}
		if parameters == nil {
			parameters = make(map[string]*oip.InferParameter, 1)
		}
		parameters[paramSize] = &oip.InferParameter{ParameterChoice: &oip.InferParameter_Int64Param{Int64Param: int64(len(raw))}}
	}
	if len(parameters) > 0 {
		head = appendParameters(append(head, `,"parameters":`...), parameters)
	}
	if binary {
		return append(head, '}'), append(tail, raw...), nil
	}
	c := out.GetContents()
	if isRaw {
		c = fromRaw(datatype, raw)
	}
	head, ok := appendData(append(head, `,"data":`...), datatype, c)
	if !ok {
		return nil, nil, apierr.New(apierr.FailedPrecondition,
			"output %q holds what JSON cannot (%s, a number that is none, or bytes that are no text): ask for it with the parameter %s",
			out.GetName(), datatype, paramBinary).WithField("outputs")
	}
	return append(head, '}'), tail, nil
}

// maxOutputElements bounds what an engine's shape may claim; its bytes are
// bounded by the message they come in.
const maxOutputElements = math.MaxInt32

func checkOutput(out *oip.ModelInferResponse_InferOutputTensor, raw []byte, isRaw bool) error {
	if _, ok := sizeOf(out.GetDatatype()); !ok {
		return fmt.Errorf("unknown type %q", out.GetDatatype())
	}
	n, err := count(out.GetShape(), maxOutputElements)
	if err != nil {
		return fmt.Errorf("the shape %w", err)
	}
	if isRaw {
		return checkRaw(out.GetDatatype(), n, raw)
	}
	_, err = checkContents(out.GetDatatype(), n, out.GetContents())
	return err
}

// appendData writes a flat array; false when an element has no form in JSON.
func appendData(b []byte, datatype string, c *oip.InferTensorContents) ([]byte, bool) {
	switch datatype {
	case typeBool:
		return appendAll(b, c.GetBoolContents(), func(b []byte, v bool) ([]byte, bool) { return strconv.AppendBool(b, v), true })
	case typeInt8, typeInt16, typeInt32:
		return appendAll(b, c.GetIntContents(), func(b []byte, v int32) ([]byte, bool) { return strconv.AppendInt(b, int64(v), 10), true })
	case typeInt64:
		return appendAll(b, c.GetInt64Contents(), func(b []byte, v int64) ([]byte, bool) { return strconv.AppendInt(b, v, 10), true })
	case typeUint8, typeUint16, typeUint32:
		return appendAll(b, c.GetUintContents(), func(b []byte, v uint32) ([]byte, bool) { return strconv.AppendUint(b, uint64(v), 10), true })
	case typeUint64:
		return appendAll(b, c.GetUint64Contents(), func(b []byte, v uint64) ([]byte, bool) { return strconv.AppendUint(b, v, 10), true })
	case typeFP32:
		return appendAll(b, c.GetFp32Contents(), func(b []byte, v float32) ([]byte, bool) { return appendFloat(b, float64(v), 32) })
	case typeFP64:
		return appendAll(b, c.GetFp64Contents(), func(b []byte, v float64) ([]byte, bool) { return appendFloat(b, v, 64) })
	case typeBytes:
		return appendAll(b, c.GetBytesContents(), func(b, v []byte) ([]byte, bool) { return quote(b, string(v)), utf8.Valid(v) })
	default:
		return b, false
	}
}

func appendAll[T any](b []byte, values []T, one func([]byte, T) ([]byte, bool)) ([]byte, bool) {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		var ok bool
		if b, ok = one(b, v); !ok {
			return b, false
		}
	}
	return append(b, ']'), true
}

func appendFloat(b []byte, v float64, width int) ([]byte, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return b, false
	}
	return strconv.AppendFloat(b, v, 'g', -1, width), true
}

func appendParameters(b []byte, p map[string]*oip.InferParameter) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(p)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(quote(b, name), ':')
		switch v := p[name].GetParameterChoice().(type) {
		case *oip.InferParameter_BoolParam:
			b = strconv.AppendBool(b, v.BoolParam)
		case *oip.InferParameter_Int64Param:
			b = strconv.AppendInt(b, v.Int64Param, 10)
		case *oip.InferParameter_Uint64Param:
			b = strconv.AppendUint(b, v.Uint64Param, 10)
		case *oip.InferParameter_StringParam:
			b = quote(b, v.StringParam)
		case *oip.InferParameter_DoubleParam:
			var ok bool
			if b, ok = appendFloat(b, v.DoubleParam, 64); !ok {
				b = append(b, "null"...)
			}
		default:
			b = append(b, "null"...)
		}
	}
	return append(b, '}')
}

// quote appends a string as JSON; what is no valid UTF-8 becomes U+FFFD.
func quote(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil {
		// The text is written all the same, with the invalid bytes replaced.
		return out
	}
	return out
}
