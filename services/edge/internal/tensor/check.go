package tensor

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

// Limits is the section "tensors": what one request may hold.
type Limits struct {
	// MaxBytes bounds the elements of all inputs together, as raw bytes.
	MaxBytes config.Bytes `yaml:"max_bytes"`
	// MaxInputs bounds the inputs.
	MaxInputs int `yaml:"max_inputs"`
}

// mostBytes is what the mesh carries in one message, less its other fields.
const mostBytes = 16 * config.MiB

// DefaultLimits returns the defaults.
func DefaultLimits() Limits { return Limits{MaxBytes: mostBytes, MaxInputs: 64} }

// Validate notes what is wrong; prefix is the section's path.
func (l Limits) Validate(p *config.Problems, prefix string) {
	p.Check(l.MaxBytes >= config.KiB && l.MaxBytes <= mostBytes, prefix+".max_bytes", "must be from 1KiB to %v, got %v", mostBytes, l.MaxBytes)
	p.Check(l.MaxInputs >= 1 && l.MaxInputs <= 256, prefix+".max_inputs", "must be from 1 to 256, got %d", l.MaxInputs)
}

// Check refuses a request whose tensors are not what they say they are, or are
// too many, or lie where a client must not point. The error names the field.
func (l Limits) Check(req *oip.ModelInferRequest) error {
	inputs, raw := req.GetInputs(), req.GetRawInputContents()
	if len(inputs) > l.MaxInputs {
		return apierr.Invalid("inputs", "inputs: must not be more than %d, got %d", l.MaxInputs, len(inputs))
	}
	if len(raw) > 0 && len(raw) != len(inputs) {
		return apierr.Invalid("raw_input_contents", "raw_input_contents: has %d items for %d inputs", len(raw), len(inputs))
	}
	if err := checkParameters(req); err != nil {
		return err
	}
	total, names := 0, make(map[string]bool, len(inputs))
	for i, in := range inputs {
		if names[in.GetName()] {
			return invalid(inputPath(i)+".name", "comes twice: %q", in.GetName())
		}
		names[in.GetName()] = true
		size, err := l.checkInput(i, in, raw)
		if err != nil {
			return err
		}
		if total += size; total > l.MaxBytes.Int() {
			return l.tooLarge(inputPath(i))
		}
	}
	return nil
}

func (l Limits) tooLarge(field string) error {
	return apierr.New(apierr.PayloadTooLarge, "%s: the inputs have more than %d bytes together", field, l.MaxBytes).WithField(field)
}

func inputPath(i int) string { return fmt.Sprintf("inputs[%d]", i) }

func invalid(field, format string, args ...any) error {
	return apierr.Invalid(field, "%s: %s", field, fmt.Sprintf(format, args...))
}

// checkInput returns the size of one input's elements as raw bytes.
func (l Limits) checkInput(i int, in *oip.ModelInferRequest_InferInputTensor, raw [][]byte) (int, error) {
	at := inputPath(i)
	if _, ok := sizeOf(in.GetDatatype()); !ok {
		return 0, unknownType(at, in.GetDatatype())
	}
	n, err := count(in.GetShape(), l.MaxBytes.Int())
	if err != nil {
		return 0, invalid(at+".shape", "%v", err)
	}
	if len(raw) > 0 {
		if in.GetContents() != nil && held(in.GetContents()) > 0 {
			return 0, invalid(at+".contents", "must be empty when raw_input_contents is given")
		}
		field := fmt.Sprintf("raw_input_contents[%d]", i)
		if err := checkRaw(in.GetDatatype(), n, raw[i]); err != nil {
			return 0, invalid(field, "%v", err)
		}
		return len(raw[i]), nil
	}
	size, err := checkContents(in.GetDatatype(), n, in.GetContents())
	if err != nil {
		return 0, invalid(at+".contents", "%v", err)
	}
	return size, nil
}

func unknownType(at, datatype string) error {
	return invalid(at+".datatype", "must be one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64 and BYTES, got %q", datatype)
}

// checkRaw holds raw bytes to n elements.
func checkRaw(datatype string, n int, raw []byte) error {
	size, _ := sizeOf(datatype)
	if datatype != typeBytes {
		if len(raw) != n*size {
			return fmt.Errorf("has %d bytes, and %d elements of %s are %d", len(raw), n, datatype, n*size)
		}
		return nil
	}
	found := 0
	for rest := raw; len(rest) > 0; found++ {
		if len(rest) < lengthBytes {
			return fmt.Errorf("ends within the length of element %d", found)
		}
		length := binary.LittleEndian.Uint32(rest)
		rest = rest[lengthBytes:]
		if uint64(length) > uint64(len(rest)) {
			return fmt.Errorf("element %d has %d bytes, of which %d are there", found, length, len(rest))
		}
		rest = rest[length:]
	}
	if found != n {
		return fmt.Errorf("has %d elements, and the shape %d", found, n)
	}
	return nil
}

// checkParameters refuses what would have an engine read memory that is not the
// caller's, and what needs one engine to remember a caller.
func checkParameters(req *oip.ModelInferRequest) error {
	for name, p := range req.GetParameters() {
		if err := sharedMemory("parameters", name); err != nil {
			return err
		}
		if name == "sequence_id" && (p.GetInt64Param() != 0 || p.GetUint64Param() != 0 || p.GetStringParam() != "") {
			return invalid("parameters.sequence_id", "stateful sequences are not served: requests go to any worker that has the model")
		}
	}
	for i, in := range req.GetInputs() {
		for name := range in.GetParameters() {
			if err := sharedMemory(inputPath(i)+".parameters", name); err != nil {
				return err
			}
		}
	}
	for i, out := range req.GetOutputs() {
		for name := range out.GetParameters() {
			if err := sharedMemory(fmt.Sprintf("outputs[%d].parameters", i), name); err != nil {
				return err
			}
		}
	}
	return nil
}

func sharedMemory(at, name string) error {
	if strings.HasPrefix(name, "shared_memory_") {
		return invalid(at+"."+name, "shared memory is not served: send the elements")
	}
	return nil
}
