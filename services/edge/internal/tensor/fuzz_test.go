package tensor

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

// echo answers a request with its own inputs.
func echo(req *oip.ModelInferRequest) *oip.ModelInferResponse {
	resp := &oip.ModelInferResponse{ModelName: "m", Id: req.GetId(), RawOutputContents: req.GetRawInputContents()}
	for _, in := range req.GetInputs() {
		resp.Outputs = append(resp.Outputs, output(in.GetName(), in.GetDatatype(), in.GetContents(), in.GetShape()...))
	}
	return resp
}

// FuzzDecode holds whatever is accepted to what is promised: it passes Check, it
// can be answered, and what is answered can be asked again and means the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(one(`{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4]]}`)), []byte{})
	f.Add([]byte(one(`{"name":"x","shape":[2],"datatype":"BYTES","data":["a","\u00e9\ud83d\ude00"]}`)), []byte{})
	f.Add([]byte(one(`{"name":"x","shape":[1],"datatype":"FP16","parameters":{"binary_data_size":2}},{"name":"y","shape":[1],"datatype":"UINT8","data":[7]}`)), []byte{1, 2})
	f.Add([]byte(`{"id":"1","parameters":{"a":1,"b":-0.5,"c":"d","binary_data_output":true},"inputs":[{"name":"x","shape":[],"datatype":"BOOL","data":[true]}],"outputs":[{"name":"x"}]}`), []byte{})
	f.Add([]byte(one(`{"name":"x","shape":[9223372036854775807,2],"datatype":"INT64","data":[]}`)), []byte{})
	f.Add([]byte(`{"inputs":[{"data":[[[[`), []byte{})
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		r, err := limits().Decode(head, tail)
		if err != nil {
			e := apierr.From(err)
			if s := e.HTTPStatus(); s < 400 || s > 499 {
				t.Fatalf("%v is not the client's fault", err)
			}
			return
		}
		if !json.Valid(head) {
			t.Fatal("accepted what is not JSON")
		}
		// What Check refuses besides is about parameters and names, not the form.
		if err := limits().Check(r.Infer); err != nil {
			return
		}
		resp := echo(r.Infer)
		asked, rest, err := Encode(resp, Binary{all: true})
		if err != nil {
			t.Fatalf("cannot be answered: %v", err)
		}
		asked = bytes.Replace(asked, []byte(`"model_name":"m",`), nil, 1)
		asked = bytes.Replace(asked, []byte(`"outputs":`), []byte(`"inputs":`), 1)
		again, err := limits().Decode(asked, rest)
		if err != nil {
			t.Fatalf("the answer %s cannot be asked: %v", asked, err)
		}
		was, _, err1 := Encode(resp, Binary{})
		is, _, err2 := Encode(echo(again.Infer), Binary{})
		if (err1 == nil) != (err2 == nil) || err1 == nil && !bytes.Equal(was, is) {
			t.Fatalf("%s became %s", was, is)
		}
	})
}

// FuzzCheck holds every accepted message to a form that can be written.
func FuzzCheck(f *testing.F) {
	seed, _ := proto.Marshal(&oip.ModelInferRequest{
		Inputs:           []*oip.ModelInferRequest_InferInputTensor{input("BYTES", 2)},
		RawInputContents: [][]byte{{1, 0, 0, 0, 'a', 0, 0, 0, 0}},
	})
	f.Add(seed)
	f.Fuzz(func(t *testing.T, wire []byte) {
		req := new(oip.ModelInferRequest)
		if proto.Unmarshal(wire, req) != nil || limits().Check(req) != nil {
			return
		}
		if _, _, err := Encode(echo(req), Binary{all: true}); err != nil {
			t.Fatalf("accepted, and cannot be written: %v", err)
		}
	})
}
