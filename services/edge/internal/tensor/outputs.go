package tensor

import (
	oip "github.com/poterne/poterne/proto/gen/inference"
)

func (d *decoder) output(at string) error {
	out := new(oip.ModelInferRequest_InferRequestedOutputTensor)
	var want *bool
	err := d.object(at, func(name string) error {
		switch name {
		case "name":
			return d.text(at+".name", &out.Name)
		case "parameters":
			p, err := d.parameters(at+".parameters", func(name string, p *oip.InferParameter) bool {
				if name == paramBinary {
					yes := p.GetBoolParam()
					want = &yes
				}
				return name != paramBinary
			})
			out.Parameters = p
			return err
		default:
			return unknownMember(at + "." + name)
		}
	})
	if err != nil {
		return err
	}
	if out.GetName() == "" {
		return invalid(at+".name", "is required")
	}
	if want != nil {
		if d.binary.named == nil {
			d.binary.named = make(map[string]bool)
		}
		d.binary.named[out.GetName()] = *want
	}
	d.req.Outputs = append(d.req.Outputs, out)
	return nil
}
