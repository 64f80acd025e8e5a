package gateway

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// maxTellID is how long an id may be that is told of a line which is no document:
// longer ones are none.
const maxTellID = 1024

// idOf returns the id of a line that is an object with one, whatever else is in
// it.
func idOf(line []byte) (id string, ok bool) {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return "", false
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return "", false
		}
		if name.String() != "id" || d.PeekKind() != '"' {
			if err := d.SkipValue(); err != nil {
				return "", false
			}
			continue
		}
		value, err := d.ReadToken()
		if err != nil {
			return "", false
		}
		id, ok = value.String(), true
	}
	if _, err := d.ReadToken(); err != nil { // the object's end
		return "", false
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) || len(id) > maxTellID {
		return "", false
	}
	return id, ok
}
