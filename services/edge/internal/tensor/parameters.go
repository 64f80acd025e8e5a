package tensor

import (
	"strconv"

	oip "github.com/poterne/poterne/proto/gen/inference"
)

// maxRank is how many dimensions a tensor may have, as in the contract.
const maxRank = 32

// parameters reads an object of plain values; keep says which of them stay.
func (d *decoder) parameters(at string, keep func(string, *oip.InferParameter) bool) (map[string]*oip.InferParameter, error) {
	out := make(map[string]*oip.InferParameter)
	err := d.object(at, func(name string) error {
		p, err := d.parameter(at + "." + name)
		if err != nil {
			return err
		}
		if !keep(name, p) {
			return nil
		}
		if out[name] = p; len(out) > maxParameters {
			return invalid(at, "must not have more than %d members", maxParameters)
		}
		return nil
	})
	if len(out) == 0 {
		out = nil
	}
	return out, err
}

func (d *decoder) parameter(at string) (*oip.InferParameter, error) {
	token, err := d.json.ReadToken()
	if err != nil {
		return nil, d.syntax(err)
	}
	switch token.Kind() {
	case 't', 'f':
		return &oip.InferParameter{ParameterChoice: &oip.InferParameter_BoolParam{BoolParam: token.Bool()}}, nil
	case '"':
		return &oip.InferParameter{ParameterChoice: &oip.InferParameter_StringParam{StringParam: token.String()}}, nil
	case '0':
		return number(at, token.String())
	default:
		return nil, invalid(at, "must be a string, a number, true or false")
	}
}

func number(at, text string) (*oip.InferParameter, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return &oip.InferParameter{ParameterChoice: &oip.InferParameter_Int64Param{Int64Param: n}}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return &oip.InferParameter{ParameterChoice: &oip.InferParameter_Uint64Param{Uint64Param: n}}, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, invalid(at, "is out of the range of numbers")
	}
	return &oip.InferParameter{ParameterChoice: &oip.InferParameter_DoubleParam{DoubleParam: f}}, nil
}
