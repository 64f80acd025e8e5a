package engine

import (
	"fmt"
	"strconv"
	"strings"
)

// tensorSpec is a tensor that a spec says its model takes or gives.
type tensorSpec struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

// maxDeclared bounds the tensors of one parameter.
const maxDeclared = 64

// tensors takes a parameter that lists tensors, such as
// `x:FP64[-1,4];mask:BOOL[-1]`.
func (p *parameters) tensors(name string) []tensorSpec {
	text := p.text(name, "")
	if text == "" {
		return nil
	}
	var out []tensorSpec
	for item := range strings.SplitSeq(text, ";") {
		t, err := parseTensor(strings.TrimSpace(item))
		if err != nil {
			p.fail(name, fmt.Sprintf("must list tensors as name:TYPE[dimension,…] with ; between them: %v", err))
			return nil
		}
		if out = append(out, t); len(out) > maxDeclared {
			p.fail(name, fmt.Sprintf("must not list more than %d tensors", maxDeclared))
			return nil
		}
	}
	return out
}

func parseTensor(item string) (tensorSpec, error) {
	head, dims, ok := strings.Cut(item, "[")
	name, datatype, typed := strings.Cut(head, ":")
	dims, closed := strings.CutSuffix(dims, "]")
	if !ok || !typed || !closed || name == "" {
		return tensorSpec{}, fmt.Errorf("%q is none", item)
	}
	if _, known := tritonType(datatype); !known {
		return tensorSpec{}, fmt.Errorf("%q has the unknown type %q", item, datatype)
	}
	t := tensorSpec{Name: name, Datatype: datatype, Shape: []int64{}}
	if dims == "" {
		return t, nil
	}
	for d := range strings.SplitSeq(dims, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(d), 10, 32)
		if err != nil || n < -1 {
			return tensorSpec{}, fmt.Errorf("%q has the dimension %q", item, d)
		}
		t.Shape = append(t.Shape, n)
	}
	return t, nil
}

// tritonType is a type's name in Triton's model configuration.
func tritonType(datatype string) (string, bool) {
	switch datatype {
	case "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64":
		return "TYPE_" + datatype, true
	case "BF16":
		return "TYPE_BF16", true
	case "BYTES":
		return "TYPE_STRING", true
	default:
		return "", false
	}
}
