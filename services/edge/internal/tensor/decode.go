package tensor

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

// Request is what a body over REST asks for.
type Request struct {
	Infer *oip.ModelInferRequest
	// Binary says which outputs are wanted as bytes behind the JSON.
	Binary Binary
}

// Binary is a choice of outputs.
type Binary struct {
	all   bool
	named map[string]bool
}

func (b Binary) wants(output string) bool {
	if want, ok := b.named[output]; ok {
		return want
	}
	return b.all
}

// The parameters of the binary extension: they are about the form over REST,
// and do not reach engines.
const (
	paramSize   = "binary_data_size"
	paramBinary = "binary_data"
	paramAll    = "binary_data_output"
)

// maxOutputs and maxParameters bound what a document can become; the contract
// has the same bounds.
const (
	maxOutputs    = 256
	maxParameters = 64
)

// Decode reads a request: head is its JSON, tail the bytes behind it. The error
// names the member at fault.
func (l Limits) Decode(head, tail []byte) (*Request, error) {
	d := &decoder{limits: l, head: head, tail: tail, json: jsontext.NewDecoder(bytes.NewBuffer(head))}
	if err := d.request(); err != nil {
		return nil, err
	}
	if len(d.tail) > 0 {
		return nil, apierr.New(apierr.InvalidArgument, "the body has %d bytes more than its inputs say with %s", len(d.tail), paramSize)
	}
	if err := d.allRaw(); err != nil {
		return nil, err
	}
	return &Request{Infer: &d.req, Binary: d.binary}, nil
}

type decoder struct {
	limits     Limits
	head, tail []byte
	json       *jsontext.Decoder
	req        oip.ModelInferRequest
	binary     Binary
	raw        [][]byte // of each input; nil where the JSON has the elements
	total      int      // of all elements, as raw bytes
}

func (d *decoder) request() error {
	err := d.object("", func(name string) error {
		switch name {
		case "id":
			return d.text("id", &d.req.Id)
		case "parameters":
			p, err := d.parameters("parameters", func(name string, p *oip.InferParameter) bool {
				if name == paramAll {
					d.binary.all = p.GetBoolParam()
				}
				return name != paramAll
			})
			d.req.Parameters = p
			return err
		case "inputs":
			return d.list("inputs", d.limits.MaxInputs, d.input)
		case "outputs":
			return d.list("outputs", maxOutputs, d.output)
		case "model_name", "model_version":
			// KServe's client repeats here what the path says, and the path decides.
			var repeated string
			return d.text(name, &repeated)
		default:
			return unknownMember(name)
		}
	})
	if err != nil {
		return err
	}
	if _, err := d.json.ReadToken(); err == nil {
		return apierr.New(apierr.InvalidArgument, "the body must be one JSON object")
	} else if d.json.InputOffset() < int64(len(bytes.TrimRight(d.head, " \t\r\n"))) {
		return d.syntax(err)
	}
	if len(d.req.GetInputs()) == 0 {
		return invalid("inputs", "must not be empty")
	}
	return nil
}

// input reads one input. Its elements may come before the members that say what
// they are, and so are read last.
func (d *decoder) input(at string) error {
	in := new(oip.ModelInferRequest_InferInputTensor)
	var data []byte
	size := -1
	err := d.object(at, func(name string) error {
		switch name {
		case "name":
			return d.text(at+".name", &in.Name)
		case "datatype":
			return d.text(at+".datatype", &in.Datatype)
		case "shape":
			return d.shape(at+".shape", &in.Shape)
		case "parameters":
			var bad error
			p, err := d.parameters(at+".parameters", func(name string, p *oip.InferParameter) bool {
				if name != paramSize {
					return true
				}
				n, ok := p.GetParameterChoice().(*oip.InferParameter_Int64Param)
				if !ok || n.Int64Param < 0 || n.Int64Param > math.MaxInt32 {
					bad = invalid(at+".parameters."+paramSize, "must be how many of the bytes behind the JSON are this input's")
					return false
				}
				size = int(n.Int64Param)
				return false
			})
			in.Parameters = p
			if err == nil {
				err = bad
			}
			return err
		case "data":
			v, err := d.value()
			data = v
			return err
		default:
			return unknownMember(at + "." + name)
		}
	})
	if err != nil {
		return err
	}
	d.req.Inputs = append(d.req.Inputs, in)
	return d.elements(at, in, data, size)
}

// elements reads an input's elements from the JSON or from behind it.
func (d *decoder) elements(at string, in *oip.ModelInferRequest_InferInputTensor, data []byte, size int) error {
	if in.GetName() == "" {
		return invalid(at+".name", "is required")
	}
	datatype := in.GetDatatype()
	width, ok := sizeOf(datatype)
	if !ok {
		return unknownType(at, datatype)
	}
	n, err := count(in.GetShape(), d.limits.MaxBytes.Int())
	if err != nil {
		return invalid(at+".shape", "%v", err)
	}
	if datatype == typeBytes {
		width = lengthBytes
	}
	// Before anything is built: two bytes of JSON may become eight.
	if d.total += n * width; d.total > d.limits.MaxBytes.Int() {
		return d.limits.tooLarge(at)
	}
	switch {
	case size >= 0 && data != nil:
		return invalid(at+".data", "must be missing when %s says that bytes follow", paramSize)
	case size > len(d.tail):
		return invalid(at+".parameters."+paramSize, "is %d, and %d bytes are left behind the JSON", size, len(d.tail))
	case size >= 0:
		raw := d.tail[:size:size]
		d.tail = d.tail[size:]
		d.raw = append(d.raw, raw)
		if err := checkRaw(datatype, n, raw); err != nil {
			return invalid(at+".parameters."+paramSize, "%v", err)
		}
		return nil
	case data == nil:
		return invalid(at+".data", "is required")
	case datatype == typeFP16 || datatype == typeBF16:
		return invalid(at+".data", "%s has no form in JSON: send the elements as bytes (%s)", datatype, paramSize)
	}
	d.raw = append(d.raw, nil)
	in.Contents, err = readData(datatype, in.GetShape(), n, data)
	if err != nil {
		return atPath(at+".data", err)
	}
	return nil
}

// allRaw gives every input raw bytes when one has them, as the protocol wants.
func (d *decoder) allRaw() error {
	some := false
	for _, raw := range d.raw {
		some = some || raw != nil
	}
	if !some {
		return nil
	}
	for i, in := range d.req.GetInputs() {
		if d.raw[i] != nil {
			continue
		}
		raw, err := toRaw(in.GetDatatype(), in.GetContents())
		if err != nil {
			return invalid(inputPath(i), "%v", err)
		}
		d.raw[i], in.Contents = raw, nil
	}
	d.req.RawInputContents = d.raw
	return nil
}

// shape reads dimensions.
func (d *decoder) shape(at string, to *[]int64) error {
	*to = nil
	return d.list(at, maxRank, func(at string) error {
		token, err := d.json.ReadToken()
		if err != nil {
			return d.syntax(err)
		}
		n, err := strconv.ParseInt(token.String(), 10, 64)
		if token.Kind() != '0' || err != nil || n < 0 {
			return invalid(at, "must be a whole number that is not negative")
		}
		*to = append(*to, n)
		return nil
	})
}

func unknownMember(at string) error { return invalid(at, "is not known here") }

func atPath(at string, err error) error { return apierr.Invalid(at, "%s%s", at, fmt.Sprint(err)) }
