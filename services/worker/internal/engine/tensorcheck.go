package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

// What a model declares that it takes binds some servers and not others. Triton
// refuses what differs, so a request to it is refused before it is sent. MLServer
// never looks: its models take the first input whatever its name, other numbers
// than they declare, and what codecs make of bytes. Requests to it are sent, and
// only one that it failed on is held to the declaration, to say what was wrong.

// declaredInput is one input that a model declares.
type declaredInput = oip.ModelMetadataResponse_TensorMetadata

// declaration is what a model declares that it takes; none is not held to
// anything.
type declaration []*declaredInput

func (d declaration) of(name string) *declaredInput {
	i := slices.IndexFunc(d, func(in *declaredInput) bool { return in.GetName() == name })
	if i < 0 {
		return nil
	}
	return d[i]
}

// mismatch returns how the request differs from what is declared, or nil. Sure
// differences come first. Whether an input may be left away no server tells, so a
// missing one is only a difference when all is asked for.
func (d declaration) mismatch(req *oip.ModelInferRequest, all bool) *apierr.Error {
	if len(d) == 0 {
		return nil
	}
	for _, rule := range []func(int, *oip.ModelInferRequest_InferInputTensor, *declaredInput) *apierr.Error{
		wrongShape, unknownInput(d), wrongDatatype,
	} {
		for i, in := range req.GetInputs() {
			if err := rule(i, in, d.of(in.GetName())); err != nil {
				return err
			}
		}
	}
	for _, in := range d {
		if all && !slices.ContainsFunc(req.GetInputs(), func(got *oip.ModelInferRequest_InferInputTensor) bool { return got.GetName() == in.GetName() }) {
			return apierr.Invalid("inputs", "inputs: %s is missing, which the model declares as %s%s", quoted(in.GetName()), clean(in.GetDatatype()), shapeText(in.GetShape()))
		}
	}
	return nil
}

func wrongShape(i int, in *oip.ModelInferRequest_InferInputTensor, declared *declaredInput) *apierr.Error {
	if declared == nil || len(declared.GetShape()) == 0 || recoded(in) || fits(in.GetShape(), declared.GetShape()) {
		return nil
	}
	return invalidInput(i, "shape", "%s has the shape %s, and the model declares %s", quoted(in.GetName()), shapeText(in.GetShape()), shapeText(declared.GetShape()))
}

func wrongDatatype(i int, in *oip.ModelInferRequest_InferInputTensor, declared *declaredInput) *apierr.Error {
	if declared == nil || declared.GetDatatype() == "" || recoded(in) || in.GetDatatype() == declared.GetDatatype() {
		return nil
	}
	return invalidInput(i, "datatype", "%s has the datatype %s, and the model declares %s", quoted(in.GetName()), clean(in.GetDatatype()), clean(declared.GetDatatype()))
}

func unknownInput(d declaration) func(int, *oip.ModelInferRequest_InferInputTensor, *declaredInput) *apierr.Error {
	return func(i int, in *oip.ModelInferRequest_InferInputTensor, declared *declaredInput) *apierr.Error {
		if declared != nil {
			return nil
		}
		names := make([]string, 0, len(d))
		for _, want := range d[:min(len(d), maxDeclared)] {
			names = append(names, quoted(want.GetName()))
		}
		return invalidInput(i, "name", "%s is none that the model declares; it declares %s", quoted(in.GetName()), clean(strings.Join(names, ", ")))
	}
}

func invalidInput(i int, part, format string, args ...any) *apierr.Error {
	field := fmt.Sprintf("inputs[%d].%s", i, part)
	return apierr.Invalid(field, "%s: %s", field, fmt.Sprintf(format, args...))
}

// recoded reports whether the input says itself what its elements are to be made
// into (MLServer's content types): its shape and type are then not the model's.
func recoded(in *oip.ModelInferRequest_InferInputTensor) bool {
	_, is := in.GetParameters()["content_type"]
	return is
}

// fits reports whether a shape is as declared, where dimensions below 0 are free.
func fits(shape, declared []int64) bool {
	return slices.EqualFunc(shape, declared, func(got, want int64) bool { return want < 0 || got == want })
}

// maxShown bounds the dimensions and names that an error repeats.
const maxShown = 16

func shapeText(shape []int64) string {
	var dims []string
	for _, d := range shape[:min(len(shape), maxShown)] {
		dims = append(dims, strconv.FormatInt(d, 10))
	}
	if len(shape) > maxShown {
		dims = append(dims, "…")
	}
	return "[" + strings.Join(dims, ",") + "]"
}

func quoted(name string) string {
	const most = 64
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return strconv.Quote(name)
}

// check refuses a request that the server would. A server that runs elsewhere may
// have been given another model since it was asked, so it is asked once more.
func (c *tensorClient) check(ctx context.Context, req *oip.ModelInferRequest) error {
	if !c.target.strict {
		return nil
	}
	wrong := c.declared(ctx, false).mismatch(req, false)
	if wrong != nil && c.target.elsewhere {
		wrong = c.declared(ctx, true).mismatch(req, false)
	}
	if wrong != nil {
		return wrong
	}
	return nil
}

// explain says of a request that the server failed on how it differs from what
// the model declares, if it does.
func (c *tensorClient) explain(ctx context.Context, req *oip.ModelInferRequest, err error) error {
	failure := tensorError(ctx, err)
	if ctx.Err() != nil || !failedOnRequest(err) {
		return failure
	}
	wrong := c.declared(ctx, false).mismatch(req, true)
	if wrong == nil {
		return failure
	}
	wrong.Message += "; " + failure.Error()
	return wrong
}

// declared is what the model declares that it takes. The server is asked until it
// answers, and again when that is wanted; what it does not say is not held against
// anybody. That it offers no such call is an answer, another error is not.
func (c *tensorClient) declared(ctx context.Context, again bool) declaration {
	c.mu.Lock()
	asked, inputs := c.asked, c.inputs
	c.mu.Unlock()
	if asked && !again {
		return inputs
	}
	md, err := c.Metadata(ctx)
	if err != nil && apierr.ReasonOf(err) != apierr.Unimplemented {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.inputs = true, md.GetInputs()
	return c.inputs
}

// forget has the server asked anew: its model was loaded again.
func (c *tensorClient) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded, c.asked, c.inputs = false, false, nil
}
