// Package apierr is the one taxonomy of errors that callers see. A Reason is
// turned into a gRPC status here and into HTTP by package httperr, nowhere
// else. It knows nothing of what services do; start reading at Error.
package apierr

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// Domain is the domain of every ErrorInfo (AIP-193).
const Domain = "poterne.dev"

// Violation is one thing that is wrong with a request.
type Violation struct {
	// Field is the JSON path of the field at fault, such as messages[0].role.
	Field string
	// Description says what is wrong with it, to be read after the field.
	Description string
}

// Error is an error that may be shown to the caller, apart from its cause,
// which may not. An Error is not changed once it is returned.
type Error struct {
	// Reason is the error's place in the taxonomy.
	Reason Reason
	// Message is shown to the caller: it says what to do, and holds no secret.
	Message string
	// Field is the JSON path of the field at fault, or "".
	Field string
	// Violations lists everything wrong with the request, if more is known.
	Violations []Violation
	// Metadata holds what a program may want to know, such as the model's name.
	Metadata map[string]string
	// RetryAfter is how long to wait before another try; 0 when not known.
	RetryAfter time.Duration

	cause error
}

// New returns an error whose message the caller sees.
func New(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Invalid returns INVALID_ARGUMENT for the field at the given JSON path.
func Invalid(field, format string, args ...any) *Error {
	return New(InvalidArgument, format, args...).WithField(field)
}

// Wrap returns an error with err as its cause: logged, never shown.
func Wrap(reason Reason, err error, format string, args ...any) *Error {
	e := New(reason, format, args...)
	e.cause = err
	return e
}

// WithField returns a copy of e that names the field at fault.
func (e *Error) WithField(field string) *Error {
	c := e.clone()
	c.Field = field
	return c
}

// WithRetryAfter returns a copy of e that says how long to wait.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := e.clone()
	c.RetryAfter = d
	return c
}

// WithMetadata returns a copy of e with one more entry. Keys are lowerCamelCase
// or snake_case, at most 64 characters (AIP-193).
func (e *Error) WithMetadata(key, value string) *Error {
	c := e.clone()
	if c.Metadata == nil {
		c.Metadata = make(map[string]string, 1)
	}
	c.Metadata[key] = value
	return c
}

// WithViolations returns a copy of e with more violations; the first of them
// becomes the field at fault when there was none.
func (e *Error) WithViolations(v ...Violation) *Error {
	c := e.clone()
	c.Violations = append(append([]Violation(nil), c.Violations...), v...)
	if c.Field == "" && len(c.Violations) > 0 {
		c.Field = c.Violations[0].Field
	}
	return c
}

func (e *Error) clone() *Error {
	c := *e
	c.Metadata = maps.Clone(e.Metadata)
	return &c
}

// Error is for logs: it includes the cause, which the caller must not see.
func (e *Error) Error() string {
	s := string(e.Reason) + ": " + e.Message
	if e.Field != "" {
		s += " (field " + e.Field + ")"
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, &Error{Reason: r}) hold for errors of that reason.
func (e *Error) Is(target error) bool {
	var t *Error
	ok := errors.As(target, &t)
	return ok && t.Message == "" && t.cause == nil && t.Reason == e.Reason
}

// ReasonOf returns the reason of err: "" for nil, INTERNAL for the unknown.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	return From(err).Reason
}
