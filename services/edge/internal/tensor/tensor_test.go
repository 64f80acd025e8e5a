package tensor

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

func limits() Limits { return Limits{MaxBytes: 4096, MaxInputs: 4} }

func one(member string) string { return `{"inputs":[` + member + `]}` }

func decode(t *testing.T, head, tail string) *Request {
	t.Helper()
	r, err := limits().Decode([]byte(head), []byte(tail))
	if err != nil {
		t.Fatalf("%s: %v", head, err)
	}
	if err := limits().Check(r.Infer); r.Infer.ModelName == "" && err != nil {
		t.Fatalf("%s: decoded, and then refused: %v", head, err)
	}
	return r
}

func TestDecodeJSON(t *testing.T) {
	for name, tt := range map[string]struct {
		input string
		want  *oip.InferTensorContents
	}{
		"flat":           {`{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2.5,-3e2,4]}`, &oip.InferTensorContents{Fp32Contents: []float32{1, 2.5, -300, 4}}},
		"nested":         {`{"name":"x","shape":[2,2],"datatype":"INT64","data":[[1,2],[3,9223372036854775807]]}`, &oip.InferTensorContents{Int64Contents: []int64{1, 2, 3, math.MaxInt64}}},
		"data first":     {`{"data" : [ [ true ] , [ false ] ],"datatype":"BOOL","shape":[2,1],"name":"x"}`, &oip.InferTensorContents{BoolContents: []bool{true, false}}},
		"strings":        {`{"name":"x","shape":[3],"datatype":"BYTES","data":["a\"]","é\n",""]}`, &oip.InferTensorContents{BytesContents: [][]byte{[]byte(`a"]`), []byte("é\n"), {}}}},
		"narrow":         {`{"name":"x","shape":[2],"datatype":"INT8","data":[-128,127]}`, &oip.InferTensorContents{IntContents: []int32{-128, 127}}},
		"unsigned":       {`{"name":"x","shape":[1],"datatype":"UINT64","data":[18446744073709551615]}`, &oip.InferTensorContents{Uint64Contents: []uint64{math.MaxUint64}}},
		"uint8":          {`{"name":"x","shape":[1],"datatype":"UINT8","data":[255]}`, &oip.InferTensorContents{UintContents: []uint32{255}}},
		"scalar":         {`{"name":"x","shape":[],"datatype":"FP64","data":[0.1]}`, &oip.InferTensorContents{Fp64Contents: []float64{0.1}}},
		"null":           {`{"name":"x","shape":[1],"datatype":"BOOL","data":[true],"parameters":null}`, &oip.InferTensorContents{BoolContents: []bool{true}}},
		"empty":          {`{"name":"x","shape":[0,4],"datatype":"FP32","data":[]}`, &oip.InferTensorContents{}},
		"empty, nested":  {`{"name":"x","shape":[2,0],"datatype":"FP32","data":[[],[]]}`, &oip.InferTensorContents{}},
		"flat, of three": {`{"name":"x","shape":[1,1,2],"datatype":"INT32","data":[1,2]}`, &oip.InferTensorContents{IntContents: []int32{1, 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := decode(t, one(tt.input), "")
			if got := r.Infer.GetInputs()[0].GetContents(); !proto.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ head, tail, field, says string }{
		"nothing":              {``, "", "", "ends too early"},
		"no object":            {`[]`, "", "", "must be an object"},
		"more after it":        {one(`{"name":"x","shape":[1],"datatype":"BOOL","data":[true]}`) + ` {}`, "", "", "one JSON object"},
		"half":                 {`{"inputs":[{"name":`, "", "", "ends too early"},
		"no inputs":            {`{"id":"1"}`, "", "inputs", "must not be empty"},
		"a model by number":    {`{"model_name":7}`, "", "model_name", "a string"},
		"unknown member":       {`{"input":[]}`, "", "input", "not known"},
		"unknown in input":     {one(`{"nam":"x"}`), "", "inputs[0].nam", "not known"},
		"twice":                {`{"id":"1","id":"2"}`, "", "", "twice"},
		"no name":              {one(`{"shape":[1],"datatype":"BOOL","data":[true]}`), "", "inputs[0].name", "required"},
		"no type":              {one(`{"name":"x","shape":[1],"data":[true]}`), "", "inputs[0].datatype", "one of BOOL"},
		"null for data":        {one(`{"name":"x","shape":[1],"datatype":"BOOL","data":null}`), "", "inputs[0].data", "required"},
		"null, cut":            {`{"id":nul`, "", "", "ends too early"},
		"no data":              {one(`{"name":"x","shape":[1],"datatype":"BOOL"}`), "", "inputs[0].data", "required"},
		"half floats":          {one(`{"name":"x","shape":[1],"datatype":"FP16","data":[1]}`), "", "inputs[0].data", "no form in JSON"},
		"negative dimension":   {one(`{"name":"x","shape":[-1],"datatype":"BOOL","data":[true]}`), "", "inputs[0].shape[0]", "not negative"},
		"fractional dimension": {one(`{"name":"x","shape":[1.5],"datatype":"BOOL","data":[true]}`), "", "inputs[0].shape[0]", "whole number"},
		"dimension as text":    {one(`{"name":"x","shape":["1"],"datatype":"BOOL","data":[true]}`), "", "inputs[0].shape[0]", "whole number"},
		"product overflows":    {one(`{"name":"x","shape":[4294967296,4294967296],"datatype":"BOOL","data":[]}`), "", "inputs[0].shape", "more than 4096 elements"},
		"zero hides overflow":  {one(`{"name":"x","shape":[0,9223372036854775807],"datatype":"BOOL","data":[]}`), "", "inputs[0].shape", "more than"},
		"too many bytes":       {one(`{"name":"x","shape":[600],"datatype":"FP64","data":[]}`), "", "inputs[0]", "more than 4096 bytes"},
		"deep shape":           {one(`{"name":"x","shape":[` + strings.Repeat("1,", 32) + `1],"datatype":"BOOL","data":[true]}`), "", "inputs[0].shape", "more than 32"},
		"too few":              {one(`{"name":"x","shape":[3],"datatype":"BOOL","data":[true]}`), "", "inputs[0].data", "has 1 elements, and the shape [3] has 3"},
		"too many":             {one(`{"name":"x","shape":[1],"datatype":"BOOL","data":[true,false]}`), "", "inputs[0].data", "more elements than"},
		"ragged":               {one(`{"name":"x","shape":[2,2],"datatype":"INT8","data":[[1,2,3],[4]]}`), "", "inputs[0].data", "dimension 1"},
		"too deep":             {one(`{"name":"x","shape":[1,1],"datatype":"INT8","data":[[[1]]]}`), "", "inputs[0].data", "deeper"},
		"half nested":          {one(`{"name":"x","shape":[2,1],"datatype":"INT8","data":[[1],2]}`), "", "inputs[0].data", "must nest"},
		"nested later":         {one(`{"name":"x","shape":[2,1],"datatype":"INT8","data":[1,[2]]}`), "", "inputs[0].data", "[1]: must be an element"},
		"object in data":       {one(`{"name":"x","shape":[1],"datatype":"INT8","data":[{"a":1}]}`), "", "inputs[0].data", "[0]: must be a whole number from -128 to 127"},
		"null in data":         {one(`{"name":"x","shape":[1],"datatype":"FP32","data":[null]}`), "", "inputs[0].data", "must be a number"},
		"out of range":         {one(`{"name":"x","shape":[1],"datatype":"UINT16","data":[65536]}`), "", "inputs[0].data", "0 to 65535"},
		"float out of range":   {one(`{"name":"x","shape":[1],"datatype":"FP32","data":[1e39]}`), "", "inputs[0].data", "range"},
		"fraction":             {one(`{"name":"x","shape":[1],"datatype":"INT32","data":[1.5]}`), "", "inputs[0].data", "whole number"},
		"number as text":       {one(`{"name":"x","shape":[1],"datatype":"BYTES","data":[1]}`), "", "inputs[0].data", "a string"},
		"not a number":         {one(`{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}`), "", "", "not valid JSON"},
		"bytes not announced":  {one(`{"name":"x","shape":[1],"datatype":"BOOL","data":[true]}`), "a", "", "1 bytes more"},
		"bytes missing":        {one(`{"name":"x","shape":[2],"datatype":"BOOL","parameters":{"binary_data_size":2}}`), "a", "inputs[0].parameters.binary_data_size", "1 bytes are left"},
		"bytes of wrong size":  {one(`{"name":"x","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":3}}`), "abc", "inputs[0].parameters.binary_data_size", "2 elements of FP16 are 4"},
		"both forms":           {one(`{"name":"x","shape":[1],"datatype":"BOOL","data":[true],"parameters":{"binary_data_size":1}}`), "a", "inputs[0].data", "must be missing"},
		"nested parameter":     {`{"parameters":{"a":{}}}`, "", "parameters.a", "a string, a number"},
		"many inputs":          {one(strings.Repeat(`{"name":"x","shape":[0],"datatype":"BOOL","data":[]},`, 4) + `{}`), "", "inputs", "more than 4"},
		"length within bytes":  {one(`{"name":"x","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}`), "\x02\x00\x00\x00a", "inputs[0].parameters.binary_data_size", "of which 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := limits().Decode([]byte(tt.head), []byte(tt.tail))
			e := apierr.From(err)
			if e == nil || e.HTTPStatus() < 400 || e.HTTPStatus() > 499 || e.Field != tt.field || !strings.Contains(e.Message, tt.says) {
				t.Errorf("got %v, want field %q and %q", err, tt.field, tt.says)
			}
		})
	}
}

// TestDecodeBinary is the binary extension, with one input in each form.
func TestDecodeBinary(t *testing.T) {
	r := decode(t, `{"id":"7","model_name":"m","parameters":{"binary_data_output":true,"priority":2,"ratio":0.5,"note":"n"},"inputs":[
		{"name":"a","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}},
		{"name":"b","shape":[1],"datatype":"INT16","data":[-2]},
		{"name":"c","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9,"content_type":"str"}}],
		"outputs":[{"name":"y","parameters":{"binary_data":false,"classification":3}},{"name":"z"}]}`,
		"\x00\x3c\x00\x40"+"\x01\x00\x00\x00a\x00\x00\x00\x00")
	want := [][]byte{[]byte("\x00\x3c\x00\x40"), []byte("\xfe\xff"), []byte("\x01\x00\x00\x00a\x00\x00\x00\x00")}
	got := r.Infer.GetRawInputContents()
	for i := range want {
		if len(got) != 3 || !bytes.Equal(got[i], want[i]) {
			t.Fatalf("raw contents are %q", got)
		}
	}
	if r.Binary.wants("y") || !r.Binary.wants("z") {
		t.Error("y was asked for as JSON and z as bytes")
	}
	p := r.Infer.GetParameters()
	if len(p) != 3 || p["priority"].GetInt64Param() != 2 || p["ratio"].GetDoubleParam() != 0.5 || p["note"].GetStringParam() != "n" {
		t.Errorf("parameters are %v", p)
	}
	if p := r.Infer.GetOutputs()[0].GetParameters(); len(p) != 1 || p["classification"].GetInt64Param() != 3 {
		t.Errorf("output parameters are %v", p)
	}
	if p := r.Infer.GetInputs()[2].GetParameters(); len(p) != 1 {
		t.Errorf("input parameters are %v", p)
	}
}

func input(datatype string, shape ...int64) *oip.ModelInferRequest_InferInputTensor {
	return &oip.ModelInferRequest_InferInputTensor{Name: "x", Datatype: datatype, Shape: shape}
}

func text(s string) *oip.InferParameter {
	return &oip.InferParameter{ParameterChoice: &oip.InferParameter_StringParam{StringParam: s}}
}

func TestCheck(t *testing.T) {
	contents := func(in *oip.ModelInferRequest_InferInputTensor, c *oip.InferTensorContents) *oip.ModelInferRequest {
		in.Contents = c
		return &oip.ModelInferRequest{Inputs: []*oip.ModelInferRequest_InferInputTensor{in}}
	}
	raw := func(in *oip.ModelInferRequest_InferInputTensor, raw ...string) *oip.ModelInferRequest {
		req := contents(in, nil)
		for _, r := range raw {
			req.RawInputContents = append(req.RawInputContents, []byte(r))
		}
		return req
	}
	for name, tt := range map[string]struct {
		req         *oip.ModelInferRequest
		field, says string // no field: accepted
	}{
		"typed":             {contents(input("FP32", 2), &oip.InferTensorContents{Fp32Contents: []float32{1, 2}}), "", ""},
		"raw":               {raw(input("FP16", 2), "abcd"), "", ""},
		"raw bytes":         {raw(input("BYTES", 1), "\x01\x00\x00\x00a"), "", ""},
		"nothing of zero":   {contents(input("FP32", 0), nil), "", ""},
		"unknown type":      {contents(input("FP8", 1), nil), "inputs[0].datatype", "FP8"},
		"wrong field":       {contents(input("FP32", 1), &oip.InferTensorContents{Fp64Contents: []float64{1}}), "inputs[0].contents", "fp32_contents alone"},
		"two fields":        {contents(input("FP32", 1), &oip.InferTensorContents{Fp32Contents: []float32{1}, BoolContents: []bool{true}}), "inputs[0].contents", "alone"},
		"too few":           {contents(input("FP32", 2), &oip.InferTensorContents{Fp32Contents: []float32{1}}), "inputs[0].contents", "1 elements, and the shape 2"},
		"typed half floats": {contents(input("BF16", 1), &oip.InferTensorContents{Fp32Contents: []float32{1}}), "inputs[0].contents", "raw_input_contents"},
		"too wide":          {contents(input("INT8", 1), &oip.InferTensorContents{IntContents: []int32{128}}), "inputs[0].contents", "-128 to 127"},
		"both": {func() *oip.ModelInferRequest {
			r := raw(input("BOOL", 1), "a")
			r.Inputs[0].Contents = &oip.InferTensorContents{BoolContents: []bool{true}}
			return r
		}(), "inputs[0].contents", "must be empty"},
		"raw of others": {raw(input("BOOL", 1), "a", "b"), "raw_input_contents", "2 items for 1"},
		"raw too short": {raw(input("INT32", 2), "abcd"), "raw_input_contents[0]", "4 bytes, and 2 elements"},
		"element cut":   {raw(input("BYTES", 1), "\x05\x00\x00\x00a"), "raw_input_contents[0]", "of which 1"},
		"length cut":    {raw(input("BYTES", 1), "\x05\x00"), "raw_input_contents[0]", "ends within"},
		"overflow":      {raw(input("BOOL", 1<<62, 1<<62), ""), "inputs[0].shape", "more than"},
		"too large":     {raw(input("BYTES", 1), "\xff\x0f\x00\x00"+strings.Repeat("a", 4095)), "inputs[0]", "more than 4096 bytes"},
		"shared memory": {func() *oip.ModelInferRequest {
			r := raw(input("BOOL", 1), "a")
			r.Inputs[0].Parameters = map[string]*oip.InferParameter{"shared_memory_region": text("r")}
			return r
		}(), "inputs[0].parameters.shared_memory_region", "not served"},
		"sequence": {func() *oip.ModelInferRequest {
			r := raw(input("BOOL", 1), "a")
			r.Parameters = map[string]*oip.InferParameter{"sequence_id": text("s")}
			return r
		}(), "parameters.sequence_id", "not served"},
		"same name":       {&oip.ModelInferRequest{Inputs: []*oip.ModelInferRequest_InferInputTensor{input("FP32", 0), input("FP32", 0)}}, "inputs[1].name", "twice"},
		"too many inputs": {&oip.ModelInferRequest{Inputs: make([]*oip.ModelInferRequest_InferInputTensor, 5)}, "inputs", "more than 4"},
	} {
		t.Run(name, func(t *testing.T) {
			err := limits().Check(tt.req)
			if tt.field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := apierr.From(err)
			if e == nil || e.Field != tt.field || !strings.Contains(e.Message, tt.says) {
				t.Errorf("got %v, want field %q and %q", err, tt.field, tt.says)
			}
		})
	}
}

func output(name, datatype string, c *oip.InferTensorContents, shape ...int64) *oip.ModelInferResponse_InferOutputTensor {
	return &oip.ModelInferResponse_InferOutputTensor{Name: name, Datatype: datatype, Shape: shape, Contents: c}
}

func TestEncode(t *testing.T) {
	resp := &oip.ModelInferResponse{
		ModelName: `a"b`, ModelVersion: "3", Id: "7", Parameters: map[string]*oip.InferParameter{"s": text("t")},
		Outputs: []*oip.ModelInferResponse_InferOutputTensor{
			output("f", "FP32", &oip.InferTensorContents{Fp32Contents: []float32{0.1, 1e20}}, 2),
			output("s", "BYTES", &oip.InferTensorContents{BytesContents: [][]byte{[]byte("é\"")}}, 1, 1),
			output("n", "INT64", nil, 0),
		},
	}
	head, tail, err := Encode(resp, Binary{named: map[string]bool{"s": true}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"model_name":"a\"b","model_version":"3","id":"7","parameters":{"s":"t"},"outputs":[` +
		`{"name":"f","datatype":"FP32","shape":[2],"data":[0.1,1e+20]},` +
		`{"name":"s","datatype":"BYTES","shape":[1,1],"parameters":{"binary_data_size":7}},` +
		`{"name":"n","datatype":"INT64","shape":[0],"data":[]}]}`
	if string(head) != want || string(tail) != "\x03\x00\x00\x00é\"" || !json.Valid(head) {
		t.Errorf("got  %s %q\nwant %s", head, tail, want)
	}
}

func TestEncodeRefuses(t *testing.T) {
	nan := output("y", "FP64", &oip.InferTensorContents{Fp64Contents: []float64{math.NaN()}}, 1)
	for name, tt := range map[string]struct {
		resp   *oip.ModelInferResponse
		reason apierr.Reason
	}{
		"not a number":   {&oip.ModelInferResponse{Outputs: []*oip.ModelInferResponse_InferOutputTensor{nan}}, apierr.FailedPrecondition},
		"half floats":    {&oip.ModelInferResponse{Outputs: []*oip.ModelInferResponse_InferOutputTensor{output("y", "FP16", nil, 1)}, RawOutputContents: [][]byte{{0, 0}}}, apierr.FailedPrecondition},
		"no text":        {&oip.ModelInferResponse{Outputs: []*oip.ModelInferResponse_InferOutputTensor{output("y", "BYTES", &oip.InferTensorContents{BytesContents: [][]byte{{0xff}}}, 1)}}, apierr.FailedPrecondition},
		"a lying engine": {&oip.ModelInferResponse{Outputs: []*oip.ModelInferResponse_InferOutputTensor{output("y", "FP32", nil, 2)}, RawOutputContents: [][]byte{{0}}}, apierr.EngineFailed},
		"one too many":   {&oip.ModelInferResponse{RawOutputContents: [][]byte{{0}}}, apierr.EngineFailed},
	} {
		if _, _, err := Encode(tt.resp, Binary{}); apierr.ReasonOf(err) != tt.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, tail, err := Encode(&oip.ModelInferResponse{Outputs: []*oip.ModelInferResponse_InferOutputTensor{nan}}, Binary{all: true}); err != nil || len(tail) != 8 {
		t.Errorf("as bytes: %v, %q", err, tail)
	}
}
