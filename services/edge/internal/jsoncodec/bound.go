package jsoncodec

import "github.com/go-json-experiment/json/jsontext"

// count notes n values that are about to be built.
func (d *decoder) count(n int) error {
	if d.values += n; d.values > d.opts.MaxValues {
		return faultf("is where the body exceeds %d values", d.opts.MaxValues)
	}
	return nil
}

// raw reads the next value as it is.
func (d *decoder) raw() (jsontext.Value, error) {
	raw, _, err := d.measured()
	return raw, err
}

// wellKnown reads the next value, which protojson builds, and bounds what it
// can become: protojson itself bounds only its depth.
func (d *decoder) wellKnown() (jsontext.Value, error) {
	raw, values, err := d.measured()
	if err != nil {
		return nil, err
	}
	if values > d.opts.MaxWellKnown {
		return nil, faultf("must not hold more than %d values", d.opts.MaxWellKnown)
	}
	return raw, d.count(values)
}

// measured reads the next value as it is and counts what is in it.
func (d *decoder) measured() (jsontext.Value, int, error) {
	raw, err := d.json.ReadValue()
	if err != nil {
		return nil, 0, syntax(err)
	}
	depth, values := measure(raw)
	if d.json.StackDepth()+depth > d.opts.MaxDepth {
		return nil, 0, faultf("nests deeper than %d levels", d.opts.MaxDepth)
	}
	return raw, values, nil
}

// measure returns how deep a valid value nests, and how many values it is: it
// and everything in it, without the members' names.
func measure(raw []byte) (depth, values int) {
	now := 0
	word := false // within a number or a literal
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			values++
			word = false
		case '{', '[':
			now++
			depth = max(depth, now)
			values++
			word = false
		case '}', ']':
			now--
			word = false
		case ':':
			values-- // the string before it was a name
			word = false
		case ',', ' ', '\t', '\r', '\n':
			word = false
		default:
			if !word {
				values++
			}
			word = true
		}
	}
	return depth, values
}
