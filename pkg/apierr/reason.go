package apierr

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// Reason names one kind of error. Programs decide on it, so a reason is never
// renamed; it is the reason of ErrorInfo and the code of problem documents.
type Reason string

// The taxonomy, with the HTTP status of each.
const (
	InvalidArgument       Reason = "INVALID_ARGUMENT"        // 400
	ContextLengthExceeded Reason = "CONTEXT_LENGTH_EXCEEDED" // 400
	ContentBlocked        Reason = "CONTENT_BLOCKED"         // 400: something in it must not go through
	FailedPrecondition    Reason = "FAILED_PRECONDITION"     // 400
	OutOfRange            Reason = "OUT_OF_RANGE"            // 400: begin again
	Unauthenticated       Reason = "UNAUTHENTICATED"         // 401
	PermissionDenied      Reason = "PERMISSION_DENIED"       // 403
	NotFound              Reason = "NOT_FOUND"               // 404
	ModelNotFound         Reason = "MODEL_NOT_FOUND"         // 404
	MethodNotAllowed      Reason = "METHOD_NOT_ALLOWED"      // 405
	RequestTimeout        Reason = "REQUEST_TIMEOUT"         // 408: the caller sends too slowly
	AlreadyExists         Reason = "ALREADY_EXISTS"          // 409
	Conflict              Reason = "CONFLICT"                // 409: the etag does not match
	PayloadTooLarge       Reason = "PAYLOAD_TOO_LARGE"       // 413
	UnsupportedMediaType  Reason = "UNSUPPORTED_MEDIA_TYPE"  // 415
	RateLimited           Reason = "RATE_LIMITED"            // 429
	QuotaExceeded         Reason = "QUOTA_EXCEEDED"          // 429
	Cancelled             Reason = "CANCELLED"               // 499: the caller went away
	Internal              Reason = "INTERNAL"                // 500
	Unimplemented         Reason = "UNIMPLEMENTED"           // 501
	EngineFailed          Reason = "ENGINE_FAILED"           // 502
	Overloaded            Reason = "OVERLOADED"              // 503
	Unavailable           Reason = "UNAVAILABLE"             // 503
	DeadlineExceeded      Reason = "DEADLINE_EXCEEDED"       // 504
	NotCached             Reason = "NOT_CACHED"              // 504: only what is kept was wanted
	StorageFull           Reason = "STORAGE_FULL"            // 507
)

// StatusClientClosedRequest is what NGINX logs when the client went away.
const StatusClientClosedRequest = 499

// Reasons returns every reason, by HTTP status.
func Reasons() []Reason {
	return []Reason{
		InvalidArgument, ContextLengthExceeded, ContentBlocked, FailedPrecondition, OutOfRange, Unauthenticated, PermissionDenied,
		NotFound, ModelNotFound, MethodNotAllowed, RequestTimeout, AlreadyExists, Conflict, PayloadTooLarge,
		UnsupportedMediaType, RateLimited, QuotaExceeded, Cancelled, Internal, Unimplemented,
		EngineFailed, Overloaded, Unavailable, DeadlineExceeded, NotCached, StorageFull,
	}
}

// Known reports whether r is in the taxonomy.
func (r Reason) Known() bool {
	return r == Internal || r.HTTPStatus() != http.StatusInternalServerError
}

// Failure reports whether r tells of something that failed, and not of what the caller
// asked for: what only a kept answer was to serve, and none was, is refused with 504.
func (r Reason) Failure() bool {
	return r.HTTPStatus() >= http.StatusInternalServerError && r != NotCached
}

// HTTPStatus returns the status code for r; 500 for an unknown reason.
func (r Reason) HTTPStatus() int {
	switch r {
	case InvalidArgument, ContextLengthExceeded, ContentBlocked, FailedPrecondition, OutOfRange:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case PermissionDenied:
		return http.StatusForbidden
	case NotFound, ModelNotFound:
		return http.StatusNotFound
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case RequestTimeout:
		return http.StatusRequestTimeout
	case AlreadyExists, Conflict:
		return http.StatusConflict
	case PayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case RateLimited, QuotaExceeded:
		return http.StatusTooManyRequests
	case Cancelled:
		return StatusClientClosedRequest
	case Unimplemented:
		return http.StatusNotImplemented
	case EngineFailed:
		return http.StatusBadGateway
	case Overloaded, Unavailable:
		return http.StatusServiceUnavailable
	case DeadlineExceeded, NotCached:
		return http.StatusGatewayTimeout
	case StorageFull:
		return http.StatusInsufficientStorage
	case Internal:
		return http.StatusInternalServerError
	default:
		return http.StatusInternalServerError
	}
}

// Code returns the gRPC code for r; Internal for an unknown reason.
func (r Reason) Code() codes.Code {
	switch r {
	case InvalidArgument, ContextLengthExceeded, ContentBlocked, UnsupportedMediaType:
		return codes.InvalidArgument
	case FailedPrecondition, NotCached:
		return codes.FailedPrecondition
	case OutOfRange:
		return codes.OutOfRange
	case Unauthenticated:
		return codes.Unauthenticated
	case PermissionDenied:
		return codes.PermissionDenied
	case NotFound, ModelNotFound:
		return codes.NotFound
	case AlreadyExists:
		return codes.AlreadyExists
	case Conflict:
		return codes.Aborted
	case RateLimited, QuotaExceeded, PayloadTooLarge, StorageFull:
		return codes.ResourceExhausted
	case Cancelled:
		return codes.Canceled
	case Unimplemented, MethodNotAllowed:
		return codes.Unimplemented
	case Overloaded, Unavailable:
		return codes.Unavailable
	case DeadlineExceeded, RequestTimeout:
		return codes.DeadlineExceeded
	case Internal, EngineFailed:
		return codes.Internal
	default:
		return codes.Internal
	}
}

// reasonOf returns the reason for a status that names none of ours.
func reasonOf(code codes.Code) Reason {
	switch code {
	case codes.InvalidArgument:
		return InvalidArgument
	case codes.OutOfRange:
		return OutOfRange
	case codes.FailedPrecondition:
		return FailedPrecondition
	case codes.Unauthenticated:
		return Unauthenticated
	case codes.PermissionDenied:
		return PermissionDenied
	case codes.NotFound:
		return NotFound
	case codes.AlreadyExists:
		return AlreadyExists
	case codes.Aborted:
		return Conflict
	case codes.ResourceExhausted:
		return RateLimited
	case codes.Canceled:
		return Cancelled
	case codes.Unimplemented:
		return Unimplemented
	case codes.Unavailable:
		return Unavailable
	case codes.DeadlineExceeded:
		return DeadlineExceeded
	case codes.OK, codes.Unknown, codes.Internal, codes.DataLoss:
		return Internal
	default:
		return Internal
	}
}
