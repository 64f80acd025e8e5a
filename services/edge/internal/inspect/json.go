package inspect

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// JSON returns what may go on of a JSON text: its strings, members' names
// included, are looked at as they are meant, whatever is escaped in them. What
// is no JSON is looked at as a text.
func (in *Inspection) JSON(raw string) string {
	if in == nil || raw == "" {
		return raw
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(raw)))
	dec.UseNumber() // numbers stay as they are written
	var v any
	if err := dec.Decode(&v); err != nil {
		return in.Text(raw)
	}
	if _, err := dec.Token(); err != io.EOF {
		return in.Text(raw)
	}
	// Of a name that is there twice only one member was looked at, and whoever reads
	// it may take the other: then what was looked at goes on alone.
	changed := !jsontext.Value(raw).IsValid()
	v = in.walk(v, &changed)
	if !changed {
		return raw
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return in.Text(raw)
	}
	return string(bytes.TrimSuffix(out.Bytes(), []byte("\n")))
}

func (in *Inspection) walk(v any, changed *bool) any {
	switch v := v.(type) {
	case string:
		if picture(v) {
			return v
		}
		out := in.Text(v)
		*changed = *changed || out != v
		return out
	case json.Number: // of a card, say
		if out := in.Text(v.String()); out != v.String() {
			*changed = true
			return out
		}
		return v
	case []any:
		for i := range v {
			v[i] = in.walk(v[i], changed)
		}
		return v
	case map[string]any:
		for name, member := range v {
			member = in.walk(member, changed)
			out := in.Text(name)
			if out != name {
				*changed = true
				delete(v, name)
			}
			v[out] = member
		}
		return v
	default:
		return v
	}
}

// Extra does JSON for each member that the gateway does not know.
func (in *Inspection) Extra(members map[string]string) {
	if in == nil {
		return
	}
	for name, raw := range members {
		members[name] = in.JSON(raw)
	}
}

// picture reports whether a text is a file in a URL (RFC 2397), and nothing but that.
func picture(s string) bool {
	head, file, ok := strings.Cut(s, ";base64,")
	return ok && strings.HasPrefix(head, "data:") && len(head) < 128 && !strings.ContainsAny(head, " ,@") &&
		strings.Trim(file, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_") == ""
}
