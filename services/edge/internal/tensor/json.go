package tensor

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/poterne/poterne/pkg/apierr"
)

// maxName bounds a member's name in messages.
const maxName = 128

// object reads an object and calls member for each name, at its value. A member
// that is null is the same as a missing one.
func (d *decoder) object(at string, member func(name string) error) error {
	if kind := d.json.PeekKind(); kind != '{' {
		return d.mismatch(at, "an object")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return d.syntax(err)
	}
	for {
		token, err := d.json.ReadToken()
		if err != nil {
			return d.syntax(err)
		}
		if token.Kind() == '}' {
			return nil
		}
		name := token.String()
		if len(name) > maxName {
			return apierr.Invalid(at, "%s: has a member whose name is longer than %d bytes", orBody(at), maxName)
		}
		if d.json.PeekKind() == 'n' {
			if _, err := d.json.ReadToken(); err != nil {
				return d.syntax(err)
			}
			continue
		}
		if err := member(name); err != nil {
			return err
		}
	}
}

// list reads an array of at most limit items and calls item at each.
func (d *decoder) list(at string, limit int, item func(at string) error) error {
	if kind := d.json.PeekKind(); kind != '[' {
		return d.mismatch(at, "an array")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return d.syntax(err)
	}
	for i := 0; ; i++ {
		switch d.json.PeekKind() {
		case ']':
			_, err := d.json.ReadToken()
			return d.syntax(err)
		case 0:
			_, err := d.json.ReadToken()
			return d.syntax(err)
		default:
		}
		if i == limit {
			return invalid(at, "must not have more than %d items", limit)
		}
		if err := item(fmt.Sprintf("%s[%d]", at, i)); err != nil {
			return err
		}
	}
}

// text reads a string.
func (d *decoder) text(at string, to *string) error {
	if kind := d.json.PeekKind(); kind != '"' {
		return d.mismatch(at, "a string")
	}
	token, err := d.json.ReadToken()
	if err != nil {
		return d.syntax(err)
	}
	*to = token.String()
	return nil
}

// value reads the next value as it is; it is part of the head, not a copy.
func (d *decoder) value() ([]byte, error) {
	v, err := d.json.ReadValue()
	if err != nil {
		return nil, d.syntax(err)
	}
	end := d.json.InputOffset()
	return d.head[end-int64(len(v)) : end], nil
}

// mismatch is for a value of the wrong kind; where there is none, the JSON is
// at fault.
func (d *decoder) mismatch(at, want string) error {
	if d.json.PeekKind() == 0 {
		_, err := d.json.ReadToken()
		return d.syntax(err)
	}
	return apierr.Invalid(at, "%s: must be %s", orBody(at), want)
}

func orBody(at string) string {
	if at == "" {
		return "the body"
	}
	return at
}

// syntax says what is wrong with the JSON itself.
func (d *decoder) syntax(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return apierr.Wrap(apierr.InvalidArgument, err, "the body has a member that comes twice")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return apierr.Wrap(apierr.InvalidArgument, err, "the body's JSON ends too early")
	}
	return apierr.Wrap(apierr.InvalidArgument, err, "the body is not valid JSON at byte %d", d.json.InputOffset())
}
