package apierr

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// MetadataRequestID is the Metadata key of the request's identifier. It leaves
// in the status as RequestInfo and not in ErrorInfo.
const MetadataRequestID = "request_id"

// The bounds on what one status may carry: gRPC sends it in a header, and
// peers refuse large headers.
const (
	maxMessage    = 2048 // bytes
	maxViolations = 50
	maxText       = 512 // bytes, of a violation or a metadata value
	maxMetadata   = 16
)

// HTTPStatus returns the HTTP status code for e.
func (e *Error) HTTPStatus() int { return e.Reason.HTTPStatus() }

// RequestID returns the request identifier noted in the metadata, or "".
func (e *Error) RequestID() string { return e.Metadata[MetadataRequestID] }

// GRPCStatus returns the status with ErrorInfo and, as far as known,
// BadRequest, RetryInfo and RequestInfo. The cause is not in it.
func (e *Error) GRPCStatus() *status.Status {
	s := status.New(e.Reason.Code(), clip(e.Message, maxMessage))
	info := &errdetails.ErrorInfo{Reason: string(e.Reason), Domain: Domain}
	for k, v := range e.Metadata {
		if k == MetadataRequestID || len(info.GetMetadata()) >= maxMetadata {
			continue
		}
		if info.Metadata == nil {
			info.Metadata = make(map[string]string, len(e.Metadata))
		}
		info.Metadata[k] = clip(v, maxText)
	}
	details := []protoadapt.MessageV1{info}
	if bad := e.badRequest(); bad != nil {
		details = append(details, bad)
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if id := e.RequestID(); id != "" {
		details = append(details, &errdetails.RequestInfo{RequestId: clip(id, maxText)})
	}
	if detailed, err := s.WithDetails(details...); err == nil {
		return detailed
	}
	return s
}

// Faults returns every field at fault, each with what is wrong with it.
func (e *Error) Faults() []Violation {
	if len(e.Violations) > 0 || e.Field == "" {
		return e.Violations
	}
	return []Violation{{Field: e.Field, Description: withoutField(e.Field, e.Message)}}
}

func (e *Error) badRequest() *errdetails.BadRequest {
	violations := e.Faults()
	if len(violations) == 0 {
		return nil
	}
	bad := &errdetails.BadRequest{}
	for _, v := range violations[:min(len(violations), maxViolations)] {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: clip(v.Field, maxText), Description: clip(v.Description, maxText),
		})
	}
	return bad
}

// clip cuts s to at most n bytes of valid UTF-8, which protobuf demands.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "")
}

// fromStatus reads a status that a server sent.
func fromStatus(s *status.Status, err error) *Error {
	e := &Error{Reason: reasonOf(s.Code()), cause: err}
	ours := false
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if r := Reason(d.GetReason()); d.GetDomain() == Domain && r.Known() {
				ours = true
				e.Reason = r
				for k, v := range d.GetMetadata() {
					e.setMetadata(k, v)
				}
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Violations = append(e.Violations, Violation{v.GetField(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = max(0, d.GetRetryDelay().AsDuration())
		case *errdetails.RequestInfo:
			e.setMetadata(MetadataRequestID, d.GetRequestId())
		}
	}
	if len(e.Violations) > 0 {
		e.Field = e.Violations[0].Field
	}
	e.Message = s.Message()
	if !ours {
		e.foreign(s)
	}
	return e
}

func (e *Error) setMetadata(k, v string) {
	if e.Metadata == nil {
		e.Metadata = make(map[string]string)
	}
	e.Metadata[k] = v
}

// foreign replaces messages that a library wrote for its programmer and that
// may name addresses or internals. The status stays the cause, for the logs.
func (e *Error) foreign(s *status.Status) {
	tooLarge := strings.Contains(s.Message(), "message larger than max")
	switch s.Code() {
	case codes.ResourceExhausted:
		if tooLarge {
			e.Reason = PayloadTooLarge
			e.Message = "the message is larger than the limit"
		}
	case codes.Unknown, codes.Internal, codes.DataLoss:
		e.Message = internalMessage
	case codes.Unavailable:
		e.Message = "a service needed for this request is not available; try again"
	case codes.DeadlineExceeded:
		e.Message = "the request took longer than its deadline"
	case codes.Canceled:
		e.Message = "the request was cancelled"
	default:
	}
}
